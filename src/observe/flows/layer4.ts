/** The transport header of a flow in Hubble's schema, and its summary. */
import {
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_SCTP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../../../native-free-dataplane/protocols.ts';
import type { Layer4, TcpFlag } from '../hubble/flow.ts';

export interface TransportFields {
  readonly protocol: number;
  readonly ports: { readonly source_port: number; readonly destination_port: number };
  readonly flags: readonly TcpFlag[];
  readonly icmp: { readonly type: number; readonly code: number };
}

export function layer4Of({ protocol, ports, flags, icmp }: TransportFields): Layer4 {
  switch (protocol) {
    case PROTOCOL_TCP:
      return { TCP: { ...ports, ...(flags.length > 0 && { flags: Object.fromEntries(flags.map((f) => [f, true])) }) } };
    case PROTOCOL_UDP:
      return { UDP: ports };
    case PROTOCOL_SCTP:
      return { SCTP: ports };
    case PROTOCOL_ICMP:
      return { ICMPv4: icmp };
    case PROTOCOL_ICMPV6:
      return { ICMPv6: icmp };
    default:
      return {};
  }
}

/** From the lowest bit (RFC 9293 §3.1). */
const FLAG_BITS: readonly TcpFlag[] = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'];

/** @param flags the flags byte */
export function tcpFlagsOf(flags: number): TcpFlag[] {
  return FLAG_BITS.filter((_, bit) => ((flags >>> bit) & 1) !== 0);
}

const ICMP_SUMMARIES: Readonly<Record<number, string>> = { 0: 'EchoReply', 8: 'EchoRequest', 13: 'TimestampRequest' };

/** Undefined for other protocols than ICMP. */
export function icmpSummary(protocol: number, type: number): string | undefined {
  return protocol === PROTOCOL_ICMP ? `ICMPv4 ${ICMP_SUMMARIES[type] ?? `type ${type}`}` : undefined;
}
