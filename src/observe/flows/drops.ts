/** Packets that did not arrive as flows in Hubble's schema: what was dropped, and the verdict of the policies that did it. */
import { randomUUID } from 'node:crypto';
import { ruleText } from '../../../native-free-dataplane/policies/judge.ts';
import type { NumberedRule } from '../../../native-free-dataplane/policies/rules.ts';
import type { DroppedPacket, DropText } from '../../../native-free-dataplane/print/drop.ts';
import { PROTOCOL_TCP, protocolName } from '../../../native-free-dataplane/protocols.ts';
import { VERDICTS, verdictName } from '../../../native-free-dataplane/verdicts.ts';
import { hasPorts } from '../../../native-free-dataplane/wire/ports.ts';
import { TCP_ACK, TCP_SYN } from '../../../native-free-dataplane/wire/tcp.ts';
import { deniedDirection } from '../failures.ts';
import { ciliumReason } from '../hubble/drop-reasons.ts';
import {
  EventType,
  type Flow,
  type FlowEndpoint,
  OTHER_REASON,
  type PolicyName,
  type TrafficDirection,
} from '../hubble/flow.ts';
import type { FlowAddresses } from './addresses.ts';
import { icmpSummary, layer4Of, tcpFlagsOf } from './layer4.ts';
import { type FlowPolicies, policyName } from './policies.ts';
import type { ResolvedNames } from './resolved-names.ts';

export interface DropEvent {
  readonly node: string;
  readonly kind: 'DROP';
  readonly drop: DropText;
  /** The rule that denied it, as the node has it; undefined: none did, or it is not known any more. */
  readonly rule?: NumberedRule;
  /** Address of the pod at whose port the packet was received; it may have given another as its own. */
  readonly sender?: string;
}

/** What every flow of this program has in common. */
export interface FlowSource {
  readonly addresses: FlowAddresses;
  readonly policies: FlowPolicies;
  /** Those that clients looked up. */
  readonly names: ResolvedNames;
  /** The nodes that are observed. */
  readonly nodes: ReadonlySet<string>;
  readonly emitter: Flow['emitter'];
}

/** One flow; and before it the verdict of the policies, if they denied the connection. */
export function flowsOfDrop({ node, drop, rule, sender }: DropEvent, time: string, source: FlowSource): Flow[] {
  const { verdict, packet } = drop;
  const name = verdictName(verdict);
  const reason = ciliumReason(name);
  const direction = directionOf(drop, node, source);
  const common = {
    time,
    emitter: source.emitter,
    verdict: 'DROPPED',
    node_name: node,
    traffic_direction: direction,
    ...(packet && endsOf(packet, node, source)),
    // The device tells who sent it, whatever the packet says.
    ...(sender !== undefined && { source: source.addresses.owner(sender, node).endpoint }),
    ...(packet && replyOf(packet, verdict)),
  } as const;
  const summary = packet === undefined ? VERDICTS[verdict]?.sentence : summaryOf(packet);
  const denied = packet && deniedBy(verdict, packet, source, rule);
  const denier = denied === undefined ? senderText(packet, sender, common.source) : denierText(denied, rule);
  const dropped: Flow = {
    ...common,
    uuid: randomUUID(),
    ...(reason && { drop_reason: reason.number, drop_reason_desc: reason.name }),
    event_type: { type: EventType.DROP, sub_type: reason?.number ?? OTHER_REASON },
    ...denied,
    Summary: `${name}${denier}: ${summary}`,
  };
  if (packet === undefined || denied === undefined) return [dropped];
  const judged: Flow = {
    ...common,
    uuid: randomUUID(),
    event_type: { type: EventType.POLICY_VERDICT, sub_type: 0 },
    policy_match_type: 0,
    ...denied,
    Summary: summaryOf(packet),
  };
  return [judged, dropped];
}

/** The end that the packet really has: the endpoint, where a Service's was chosen. */
const targetOf = ({ dst, dstPort, endpoint }: DroppedPacket) => endpoint ?? { ip: dst, port: dstPort };

function endsOf(packet: DroppedPacket, node: string, { addresses, names }: FlowSource): Partial<Flow> {
  const { protocol, src, srcPort, dst, dstPort, reply } = packet;
  const target = targetOf(packet);
  const name = protocolName(protocol).toUpperCase();
  const asked = hasPorts(protocol) ? addresses.service(dst, dstPort, name) : undefined;
  const answering = reply === true && hasPorts(protocol) ? addresses.service(src, srcPort, name) : undefined;
  return {
    IP: { source: src, destination: target.ip, ipVersion: src.includes(':') ? 'IPv6' : 'IPv4' },
    l4: layer4Of({
      protocol,
      ports: { source_port: srcPort, destination_port: target.port },
      flags: tcpFlagsOf(packet.tcpFlags),
      icmp: { type: packet.icmpType, code: packet.icmpCode },
    }),
    source: addresses.owner(src, node).endpoint,
    destination: addresses.owner(target.ip, node).endpoint,
    ...names.ofEnds(src, target.ip, addresses),
    Type: 'L3_L4',
    ...(answering && { source_service: answering }),
    ...(asked && { destination_service: asked }),
  };
}

/** Is the packet a reply? Not known of one that belongs to no connection, unless it would have begun one. */
function replyOf({ reply, protocol, tcpFlags }: DroppedPacket, verdict: number): Partial<Flow> {
  const begins = protocol === PROTOCOL_TCP && (tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
  const known = reply ?? (begins || deniedDirection(verdict) ? false : undefined);
  return known === undefined ? {} : { is_reply: known };
}

function directionOf({ verdict, inPort, packet }: DropText, node: string, { addresses }: FlowSource): TrafficDirection {
  const denied = deniedDirection(verdict);
  if (denied === 'ingress') return 'INGRESS';
  if (denied === 'egress' || inPort !== 0) return 'EGRESS';
  const to = packet && addresses.owner(targetOf(packet).ip, node);
  return to?.endpoint.pod_name !== undefined && to.node === node ? 'INGRESS' : 'TRAFFIC_DIRECTION_UNKNOWN';
}

/** The policy whose rule denies this packet, or those that isolate the pod and have no rule for it. */
function deniedBy(
  verdict: number,
  packet: DroppedPacket,
  { policies }: FlowSource,
  rule: NumberedRule | undefined,
): Partial<Flow> | undefined {
  const direction = deniedDirection(verdict);
  if (direction === undefined) return undefined;
  const names = rule === undefined ? denyingNow(direction, packet, policies) : policyNames(rule);
  if (names === undefined) return {};
  return direction === 'egress' ? { egress_denied_by: names } : { ingress_denied_by: names };
}

function denyingNow(
  direction: 'egress' | 'ingress',
  packet: DroppedPacket,
  policies: FlowPolicies,
): readonly PolicyName[] | undefined {
  const { ip, port } = targetOf(packet);
  const judgement = policies.judge({ from: packet.src, to: ip, protocol: packet.protocol, port })[direction];
  return judgement?.allowed === false ? judgement.policies : undefined;
}

/** ` by shop/web (no rule allows it)`; empty if it is not known any more. */
function denierText({ egress_denied_by, ingress_denied_by }: Partial<Flow>, rule: NumberedRule | undefined): string {
  if (rule !== undefined) return ` by ${ruleText(rule)}`;
  const policies = egress_denied_by ?? ingress_denied_by ?? [];
  const names = policies.map(({ namespace, name }) => (namespace === '' ? name : `${namespace}/${name}`));
  return names.length === 0 ? '' : ` by ${names.join(', ')}`;
}

/**
 * What the columns do not show of the sender: ` with source 192.0.2.1`, if that is not its own address, or
 * ` from default/web`, if the packet has no addresses.
 */
function senderText(
  packet: DroppedPacket | undefined,
  sender: string | undefined,
  endpoint: FlowEndpoint | undefined,
): string {
  if (sender === undefined) return '';
  if (packet !== undefined) return packet.src === sender ? '' : ` with source ${packet.src}`;
  return endpoint?.pod_name === undefined ? '' : ` from ${endpoint.namespace}/${endpoint.pod_name}`;
}

function policyNames({ policies, tier }: NumberedRule): PolicyName[] {
  if (tier !== 'namespaced') return [policyName(policies, tier)];
  // The table has no more than the first names: `default/a, default/b and 3 others`.
  return policies
    .replace(/ and \d+ others$/, '')
    .split(', ')
    .map((text) => policyName(text, tier));
}

function summaryOf({ protocol, tcpFlags, icmpType }: DroppedPacket): string {
  if (protocol === PROTOCOL_TCP) return `TCP Flags: ${tcpFlagsOf(tcpFlags).join(', ')}`;
  return icmpSummary(protocol, icmpType) ?? protocolName(protocol).toUpperCase();
}
