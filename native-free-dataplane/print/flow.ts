/**
 * One tracked connection as a line in the format of `conntrack -L`, so that people and scripts familiar with that tool
 * can read it (conntrack-tools; libnetfilter_conntrack src/conntrack/snprintf_default.c). Attributes we do not keep
 * (mark, use) are omitted, as that library omits unset ones.
 *
 *   tcp      6 86399 ESTABLISHED src=… dst=… sport=… dport=… packets=5 bytes=420 src=… dst=… sport=… dport=… packets=4
 *            bytes=3200 [ASSURED]
 */
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, protocolName } from '../protocols.ts';
import { icmpReplyType } from '../wire/icmp.ts';

/** One tuple of a flow, with addresses as text. */
export interface TupleText {
  readonly src: string;
  readonly srcPort: number;
  readonly dst: string;
  readonly dstPort: number;
}

/** A flow to be printed. */
export interface FlowText {
  /** IP protocol number. */
  readonly protocol: number;
  /** TCP and SCTP only, e.g. ESTABLISHED; '' otherwise. */
  readonly state: string;
  readonly timeoutSeconds: number;
  readonly original: TupleText;
  readonly reply: TupleText;
  /** [original, reply] */
  readonly packets: readonly [number, number];
  readonly bytes: readonly [number, number];
  /** Names such as ASSURED; without SEEN_REPLY the flow is unreplied. */
  readonly status: readonly string[];
}

/** The name that conntrack-tools use. */
const ICMPV6_NAME = 'icmpv6';

function printTuple(protocol: number, tuple: TupleText, reply: boolean): string {
  const addresses = `src=${tuple.src} dst=${tuple.dst}`;
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
    // The identifier is the source port of the querying side, the request's type its destination port.
    return reply
      ? `${addresses} type=${icmpReplyType(tuple.srcPort)} code=0 id=${tuple.dstPort}`
      : `${addresses} type=${tuple.dstPort} code=0 id=${tuple.srcPort}`;
  }
  if (tuple.srcPort === 0 && tuple.dstPort === 0) return addresses;
  return `${addresses} sport=${tuple.srcPort} dport=${tuple.dstPort}`;
}

/** The flow as one line, without a line end. */
export function printFlow(flow: FlowText): string {
  const { protocol, status } = flow;
  const name = protocol === PROTOCOL_ICMPV6 ? ICMPV6_NAME : protocolName(protocol).replace(/^protocol-.*/, 'unknown');
  const parts = [`${name.padEnd(8)} ${protocol} ${flow.timeoutSeconds}`];
  if (flow.state !== '') parts.push(flow.state);
  parts.push(printTuple(protocol, flow.original, false));
  parts.push(`packets=${flow.packets[0]} bytes=${flow.bytes[0]}`);
  if (!status.includes('SEEN_REPLY')) parts.push('[UNREPLIED]');
  parts.push(printTuple(protocol, flow.reply, true));
  parts.push(`packets=${flow.packets[1]} bytes=${flow.bytes[1]}`);
  if (status.includes('ASSURED')) parts.push('[ASSURED]');
  return parts.join(' ');
}
