/** Events of connections as flows in Hubble's schema: the packet that caused one, and the verdict of the policies on it. */
import { randomUUID } from 'node:crypto';
import type { FlowText } from '../../../native-free-dataplane/print/flow.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP, protocolName } from '../../../native-free-dataplane/protocols.ts';
import { icmpReplyType } from '../../../native-free-dataplane/wire/icmp.ts';
import { hasPorts } from '../../../native-free-dataplane/wire/ports.ts';
import {
  EventType,
  type Flow,
  type ObservationPoint,
  ObservationPoints,
  type TcpFlag,
  type TrafficDirection,
} from '../hubble/flow.ts';
import type { FlowAddresses } from './addresses.ts';
import { type DropEvent, type FlowSource, flowsOfDrop } from './drops.ts';
import { icmpSummary, layer4Of } from './layer4.ts';
import { type MessageEvent, MessageFlows } from './layer7.ts';
import type { Judgement } from './policies.ts';
import { ResolvedNames } from './resolved-names.ts';

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

export class FlowMaker {
  private readonly source: FlowSource;
  private readonly messages: MessageFlows;

  /**
   * @param version of this program
   * @param nodes those that are observed
   */
  constructor(
    { addresses, policies }: Pick<FlowSource, 'addresses' | 'policies'>,
    version: string,
    nodes: readonly string[] = [],
  ) {
    const emitter = { name: 'dataplane', version };
    this.source = { addresses, policies, emitter, nodes: new Set(nodes), names: new ResolvedNames() };
    this.messages = new MessageFlows(this.source);
  }

  /** The flows of an event, in order. */
  of(event: ConnectionEvent | DropEvent | MessageEvent, time: string): Flow[] {
    if (event.kind === 'DROP') return flowsOfDrop(event, time, this.source);
    if (event.kind === 'MESSAGE') return this.messages.of(event, time);
    const flow = this.ofConnection(event, time);
    return event.kind === 'NEW' ? [...this.allowedBy(event, flow), flow] : [flow];
  }

  private get addresses(): FlowAddresses {
    return this.source.addresses;
  }

  /** The verdicts of the policies that isolate a pod of this node: of the sender on its node, of the receiver on its own. */
  private allowedBy({ node, flow }: ConnectionEvent, made: Flow): Flow[] {
    const { original, reply, protocol } = flow;
    const port = hasPorts(protocol) ? reply.srcPort : 0;
    const { egress, ingress } = this.source.policies.judge({ from: original.src, to: reply.src, protocol, port });
    const verdict = (direction: 'EGRESS' | 'INGRESS', by: Judgement): Flow => {
      const { trace_observation_point: _, ...rest } = made;
      return {
        ...rest,
        uuid: randomUUID(),
        event_type: { type: EventType.POLICY_VERDICT, sub_type: 0 },
        traffic_direction: direction,
        policy_match_type: by.match,
        ...(direction === 'EGRESS' ? { egress_allowed_by: by.policies } : { ingress_allowed_by: by.policies }),
      };
    };
    const here = (ip: string): boolean => this.addresses.owner(ip, node).node === node;
    return [
      ...(egress?.allowed && here(original.src) ? [verdict('EGRESS', egress)] : []),
      ...(ingress?.allowed && here(reply.src) ? [verdict('INGRESS', ingress)] : []),
    ];
  }

  /**
   * A connection event as the flow of the packet that caused it: source and destination are those of the packet,
   * translated to the endpoint, with the Service that the client asked for beside it.
   */
  private ofConnection({ node, kind, flow }: ConnectionEvent, time: string): Flow {
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
      emitter: this.source.emitter,
      verdict: 'FORWARDED',
      IP: {
        source: from.ip,
        ...(xlated !== undefined && { source_xlated: xlated }),
        destination: to.ip,
        ipVersion: from.ip.includes(':') ? 'IPv6' : 'IPv4',
      },
      l4: layer4Of({
        protocol,
        ports: { source_port: from.port, destination_port: to.port },
        flags: cause.flags,
        icmp: { type: icmpType(flow, reply), code: 0 },
      }),
      source: source.endpoint,
      destination: destination.endpoint,
      ...this.source.names.ofEnds(from.ip, to.ip, this.addresses),
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
}

function causeOf(kind: ConnectionEvent['kind'], { protocol, state, status }: FlowText): Cause {
  if (kind === 'NEW')
    return { flags: protocol === PROTOCOL_TCP ? (TCP_CAUSES[state]?.flags ?? []) : [], isReply: false };
  if (kind === 'DESTROY') return { flags: [] };
  if (protocol === PROTOCOL_TCP) return TCP_CAUSES[state] ?? { flags: [] };
  // The first answer. Later updates (a UDP stream, say) are by either side.
  return status.includes('SEEN_REPLY') && !status.includes('ASSURED') ? { flags: [], isReply: true } : { flags: [] };
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
  return icmpSummary(protocol, icmpType(flow, reply)) ?? name;
}
