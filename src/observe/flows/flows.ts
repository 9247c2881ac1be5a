/** Connection events and counted drops as flows in Hubble's schema. */
import { randomUUID } from 'node:crypto';
import type { FlowText } from '../../../native-free-dataplane/print/flow.ts';
import {
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_SCTP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  protocolName,
} from '../../../native-free-dataplane/protocols.ts';
import type { VerdictRow } from '../../../native-free-dataplane/verdicts.ts';
import { icmpReplyType } from '../../../native-free-dataplane/wire/icmp.ts';
import { ciliumReason } from '../hubble/drop-reasons.ts';
import {
  EventType,
  type Flow,
  type Layer4,
  type ObservationPoint,
  ObservationPoints,
  OTHER_REASON,
  type TcpFlag,
  type TrafficDirection,
} from '../hubble/flow.ts';
import type { FlowAddresses } from './addresses.ts';

export interface ConnectionEvent {
  readonly node: string;
  readonly kind: 'NEW' | 'UPDATE' | 'DESTROY';
  readonly flow: FlowText;
}

/** The packet that moved a connection to a state. The direction of a FIN or RST is not in the event. */
interface Cause {
  readonly flags: readonly TcpFlag[];
  readonly isReply?: boolean;
}

const TCP_CAUSES: Readonly<Record<string, Cause>> = {
  SYN_SENT: { flags: ['SYN'], isReply: false },
  SYN_RECV: { flags: ['SYN', 'ACK'], isReply: true },
  ESTABLISHED: { flags: ['ACK'], isReply: false },
  FIN_WAIT: { flags: ['FIN', 'ACK'] },
  CLOSE_WAIT: { flags: ['ACK'] },
  LAST_ACK: { flags: ['FIN', 'ACK'] },
  TIME_WAIT: { flags: ['ACK'] },
  CLOSE: { flags: ['RST'] },
  SYN_SENT2: { flags: ['SYN'], isReply: true },
};

const ICMP_SUMMARIES: Readonly<Record<number, string>> = { 0: 'EchoReply', 8: 'EchoRequest', 13: 'TimestampRequest' };

export class FlowMaker {
  private readonly addresses: FlowAddresses;
  private readonly emitter: Flow['emitter'];

  /** @param version of this program */
  constructor(addresses: FlowAddresses, version: string) {
    this.addresses = addresses;
    this.emitter = { name: 'dataplane', version };
  }

  /**
   * A connection event as the flow of the packet that caused it: source and destination are those of the packet,
   * translated to the endpoint, with the Service that the client asked for beside it.
   */
  ofConnection({ node, kind, flow }: ConnectionEvent, time: string): Flow {
    const cause = causeOf(kind, flow);
    const reply = cause.isReply === true;
    const { original, reply: back, protocol } = flow;
    const client = { ip: original.src, port: original.srcPort };
    const server = { ip: back.src, port: back.srcPort };
    const [from, to] = reply ? [server, client] : [client, server];
    const source = this.addresses.owner(from.ip, node);
    const destination = this.addresses.owner(to.ip, node);
    const name = protocolName(protocol).toUpperCase();
    const asked = flow.status.includes('DST_NAT')
      ? this.addresses.service(original.dst, original.dstPort, name)
      : undefined;
    const { point, direction } = placeOf(source.node, destination, node);
    const xlated = !reply && back.dst !== original.src ? back.dst : undefined;
    return {
      time,
      uuid: randomUUID(),
      emitter: this.emitter,
      verdict: 'FORWARDED',
      IP: {
        source: from.ip,
        ...(xlated !== undefined && { source_xlated: xlated }),
        destination: to.ip,
        ipVersion: from.ip.includes(':') ? 'IPv6' : 'IPv4',
      },
      l4: layer4(flow, cause, reply, from.port, to.port),
      source: source.endpoint,
      destination: destination.endpoint,
      Type: 'L3_L4',
      node_name: node,
      event_type: { type: EventType.TRACE, sub_type: point.number },
      ...(asked && (reply ? { source_service: asked } : { destination_service: asked })),
      traffic_direction: direction,
      trace_observation_point: point.name,
      ...(cause.isReply !== undefined && { is_reply: cause.isReply }),
      Summary: summary(kind, flow, cause, reply),
    };
  }

  /** Packets that a node has counted with a failing verdict. The counter has no addresses. */
  ofDrops(node: string, row: VerdictRow, count: number, time: string): Flow {
    const reason = ciliumReason(row.name);
    const direction: TrafficDirection =
      row.name === 'policy-ingress' ? 'INGRESS' : row.name === 'policy-egress' ? 'EGRESS' : 'TRAFFIC_DIRECTION_UNKNOWN';
    return {
      time,
      uuid: randomUUID(),
      emitter: this.emitter,
      verdict: 'DROPPED',
      ...(reason && { drop_reason: reason.number, drop_reason_desc: reason.name }),
      node_name: node,
      event_type: { type: EventType.DROP, sub_type: reason?.number ?? OTHER_REASON },
      traffic_direction: direction,
      Summary: `${row.name}: ${count} ${count === 1 ? 'packet' : 'packets'}`,
    };
  }
}

function causeOf(kind: ConnectionEvent['kind'], { protocol, state, status }: FlowText): Cause {
  if (kind === 'NEW')
    return { flags: protocol === PROTOCOL_TCP ? (TCP_CAUSES[state]?.flags ?? []) : [], isReply: false };
  if (kind === 'DESTROY') return { flags: [] };
  if (protocol === PROTOCOL_TCP) return TCP_CAUSES[state] ?? { flags: [] };
  // The first answer. Later updates (a UDP stream, say) are by either side.
  return status.includes('SEEN_REPLY') && !status.includes('ASSURED') ? { flags: [], isReply: true } : { flags: [] };
}

function layer4(
  flow: FlowText,
  { flags }: Cause,
  reply: boolean,
  source_port: number,
  destination_port: number,
): Layer4 {
  const ports = { source_port, destination_port };
  switch (flow.protocol) {
    case PROTOCOL_TCP:
      return { TCP: { ...ports, ...(flags.length > 0 && { flags: Object.fromEntries(flags.map((f) => [f, true])) }) } };
    case PROTOCOL_UDP:
      return { UDP: ports };
    case PROTOCOL_SCTP:
      return { SCTP: ports };
    case PROTOCOL_ICMP:
      return { ICMPv4: { type: icmpType(flow, reply), code: 0 } };
    case PROTOCOL_ICMPV6:
      return { ICMPv6: { type: icmpType(flow, reply), code: 0 } };
    default:
      return {};
  }
}

/** The request's type is the destination port of the original tuple. */
const icmpType = ({ original }: FlowText, reply: boolean): number =>
  reply ? icmpReplyType(original.dstPort) : original.dstPort;

/** Where this node has seen the packet leave, and its direction as seen from this node's pod. */
function placeOf(
  sourceNode: string | undefined,
  destination: { node: string | undefined; endpoint: { pod_name?: string } },
  node: string,
): { point: ObservationPoint; direction: TrafficDirection } {
  const toPod = destination.endpoint.pod_name !== undefined;
  if (toPod && destination.node === node) return { point: ObservationPoints.TO_ENDPOINT, direction: 'INGRESS' };
  const direction = sourceNode === node ? 'EGRESS' : 'TRAFFIC_DIRECTION_UNKNOWN';
  return { point: toPod ? ObservationPoints.TO_OVERLAY : ObservationPoints.TO_STACK, direction };
}

/** Hubble's summaries for packets; for the end of a connection, what it carried. */
function summary(kind: ConnectionEvent['kind'], flow: FlowText, { flags }: Cause, reply: boolean): string {
  const { protocol, packets, bytes } = flow;
  const name = protocol === PROTOCOL_ICMP ? 'ICMPv4' : protocolName(protocol).toUpperCase();
  if (kind === 'DESTROY') {
    return `${name} ended; ${packets[0]} packets (${bytes[0]} bytes) sent, ${packets[1]} (${bytes[1]} bytes) received`;
  }
  if (flags.length > 0) return `TCP Flags: ${flags.join(', ')}`;
  if (protocol !== PROTOCOL_ICMP) return name;
  const type = icmpType(flow, reply);
  return `${name} ${ICMP_SUMMARIES[type] ?? `type ${type}`}`;
}
