/**
 * Flows in Hubble's schema, as JSON: the fields of cilium api/v1/flow/flow.proto and observer.proto that we fill in.
 * Hubble writes one GetFlowsResponse a line, with the names of the .proto files; enums are their names, 64-bit numbers
 * are strings (protobuf's JSON mapping).
 */

export type FlowVerdict = 'FORWARDED' | 'DROPPED';
export type TrafficDirection = 'INGRESS' | 'EGRESS' | 'TRAFFIC_DIRECTION_UNKNOWN';

export interface FlowEndpoint {
  readonly identity: number;
  readonly namespace?: string;
  /** `k8s:app=web`, `reserved:world`. */
  readonly labels: readonly string[];
  readonly pod_name?: string;
  readonly workloads?: readonly { readonly name: string; readonly kind: string }[];
}

export interface NamespacedName {
  readonly name: string;
  readonly namespace: string;
}

export type TcpFlag = 'FIN' | 'SYN' | 'RST' | 'PSH' | 'ACK' | 'URG' | 'ECE' | 'CWR' | 'NS';

interface Ports {
  readonly source_port: number;
  readonly destination_port: number;
}

export interface Layer4 {
  readonly TCP?: Ports & { readonly flags?: Readonly<Partial<Record<TcpFlag, true>>> };
  readonly UDP?: Ports;
  readonly SCTP?: Ports;
  readonly ICMPv4?: { readonly type: number; readonly code: number };
  readonly ICMPv6?: { readonly type: number; readonly code: number };
}

/** A message of an application. */
export interface Layer7 {
  readonly type: 'REQUEST' | 'RESPONSE';
  /** Of a response, since its request. */
  readonly latency_ns?: string;
  readonly dns?: {
    readonly query: string;
    readonly ips?: readonly string[];
    readonly ttl?: number;
    readonly cnames?: readonly string[];
    readonly observation_source: string;
    readonly rcode?: number;
    readonly qtypes: readonly string[];
    readonly rrtypes?: readonly string[];
  };
  readonly http?: {
    readonly code?: number;
    readonly method?: string;
    readonly url?: string;
    readonly protocol: string;
  };
}

/** A NetworkPolicy, or a ClusterNetworkPolicy, which has no namespace. */
export interface PolicyName {
  readonly name: string;
  readonly namespace: string;
  readonly kind: 'NetworkPolicy' | 'ClusterNetworkPolicy';
}

export interface Flow {
  readonly time: string;
  readonly uuid: string;
  readonly emitter: { readonly name: string; readonly version: string };
  readonly verdict: FlowVerdict;
  readonly drop_reason?: number;
  readonly drop_reason_desc?: string;
  readonly IP?: {
    readonly source: string;
    readonly source_xlated?: string;
    readonly destination: string;
    readonly ipVersion: 'IPv4' | 'IPv6';
  };
  readonly l4?: Layer4;
  readonly source?: FlowEndpoint;
  readonly destination?: FlowEndpoint;
  readonly Type?: 'L3_L4' | 'L7';
  readonly node_name: string;
  /** Names that the other end has looked up the address by. */
  readonly source_names?: readonly string[];
  readonly destination_names?: readonly string[];
  readonly l7?: Layer7;
  readonly event_type: { readonly type: number; readonly sub_type?: number };
  readonly source_service?: NamespacedName;
  readonly destination_service?: NamespacedName;
  readonly traffic_direction: TrafficDirection;
  readonly trace_observation_point?: string;
  /** Left out if it is not known which direction a packet had. */
  readonly is_reply?: boolean;
  /** What the rule that decided compares (PolicyMatch); only of policy verdicts. */
  readonly policy_match_type?: number;
  /** The policies whose rules allow a connection, or that isolate the pod and do not. */
  readonly egress_allowed_by?: readonly PolicyName[];
  readonly ingress_allowed_by?: readonly PolicyName[];
  readonly egress_denied_by?: readonly PolicyName[];
  readonly ingress_denied_by?: readonly PolicyName[];
  readonly Summary: string;
}

/** One line. */
export interface FlowResponse {
  readonly flow?: Flow;
  readonly lost_events?: { readonly source: 'HUBBLE_RING_BUFFER'; readonly num_events_lost: string };
  readonly node_name: string;
  readonly time: string;
}

/** Types of events (cilium pkg/monitor/api/types.go). */
export const EventType = { DROP: 1, TRACE: 4, POLICY_VERDICT: 5, L7: 129 } as const;

/** What a policy's rule compares: peers (L3), ports (L4), both, or nothing; NONE: no rule (the same file). */
export const PolicyMatch = { NONE: 0, L3_ONLY: 1, L3_L4: 2, L4_ONLY: 3, ALL: 4 } as const;
export type PolicyMatch = (typeof PolicyMatch)[keyof typeof PolicyMatch];
export const POLICY_MATCH_NAMES: readonly string[] = ['none', 'L3-Only', 'L3-L4', 'L4-Only', 'all'];

/** Subtype of a drop for which Cilium has no reason. Hubble prints the number; 0 would be printed as success. */
export const OTHER_REASON = 255;

export interface ObservationPoint {
  /** Number of the event's subtype. */
  readonly number: number;
  /** Value of the enum TraceObservationPoint. */
  readonly name: string;
  /** As in the column TYPE. */
  readonly text: string;
}

const point = (number: number, name: string, text: string): ObservationPoint => ({ number, name, text });

/** The places of cilium pkg/monitor/api/types.go that correspond to ours. */
export const ObservationPoints = {
  TO_ENDPOINT: point(0, 'TO_ENDPOINT', 'to-endpoint'),
  TO_STACK: point(3, 'TO_STACK', 'to-stack'),
  TO_OVERLAY: point(4, 'TO_OVERLAY', 'to-overlay'),
} as const;

/** Identities that Cilium reserves (cilium pkg/identity/numericidentity.go). */
export const ReservedIdentity = { UNKNOWN: 0, HOST: 1, WORLD: 2, REMOTE_NODE: 6 } as const;

const RESERVED_NAMES: Readonly<Record<number, string>> = { 0: 'unknown', 1: 'host', 2: 'world', 6: 'remote-node' };

/** `(world)`, `(ID:4711)`. */
export function printIdentity(identity: number): string {
  return `(${RESERVED_NAMES[identity] ?? `ID:${identity}`})`;
}

/** The number of `host`, `world`, …; undefined: there is no identity of this name. */
export function reservedIdentity(name: string): number | undefined {
  const found = Object.entries(RESERVED_NAMES).find(([, one]) => one === name.toLowerCase());
  return found && Number(found[0]);
}

export const reservedEndpoint = (identity: number): FlowEndpoint => ({
  identity,
  labels: [`reserved:${RESERVED_NAMES[identity]}`],
});

/** Our name of the reason for a drop, with which its summary begins. */
export const ownReason = ({ Summary }: Flow): string => /^[^: ]*/.exec(Summary)?.[0] ?? '';
