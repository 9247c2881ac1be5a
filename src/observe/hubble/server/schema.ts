/**
 * The messages of Hubble's observer service that we send and receive, as protobuf types: field numbers and types of
 * cilium api/v1/{flow,observer,relay}/*.proto, and of grpc.health.v1. Fields that are left out are skipped when they are
 * received.
 */
import protobuf from 'protobufjs';

type Field = readonly [type: string, number: number];
type Message = Readonly<Record<string, Field>>;

const ports: Message = { source_port: ['uint32', 1], destination_port: ['uint32', 2] };
const icmp: Message = { type: ['uint32', 1], code: ['uint32', 2] };
const time: Message = { seconds: ['int64', 1], nanos: ['int32', 2] };

/** `*` in front of a type: repeated. */
const MESSAGES: Readonly<Record<string, Message>> = {
  Timestamp: time,
  BoolValue: { value: ['bool', 1] },
  UInt32Value: { value: ['uint32', 1] },
  Emitter: { name: ['string', 1], version: ['string', 2] },
  IP: {
    source: ['string', 1],
    destination: ['string', 2],
    ipVersion: ['IPVersion', 3],
    source_xlated: ['string', 5],
  },
  TCPFlags: {
    FIN: ['bool', 1],
    SYN: ['bool', 2],
    RST: ['bool', 3],
    PSH: ['bool', 4],
    ACK: ['bool', 5],
    URG: ['bool', 6],
    ECE: ['bool', 7],
    CWR: ['bool', 8],
    NS: ['bool', 9],
  },
  TCP: { ...ports, flags: ['TCPFlags', 3] },
  UDP: ports,
  SCTP: ports,
  ICMPv4: icmp,
  ICMPv6: icmp,
  Layer4: { TCP: ['TCP', 1], UDP: ['UDP', 2], ICMPv4: ['ICMPv4', 3], ICMPv6: ['ICMPv6', 4], SCTP: ['SCTP', 5] },
  Workload: { name: ['string', 1], kind: ['string', 2] },
  Endpoint: {
    identity: ['uint32', 2],
    namespace: ['string', 3],
    labels: ['*string', 4],
    pod_name: ['string', 5],
    workloads: ['*Workload', 6],
  },
  Service: { name: ['string', 1], namespace: ['string', 2] },
  CiliumEventType: { type: ['int32', 1], sub_type: ['int32', 2] },
  Policy: { name: ['string', 1], namespace: ['string', 2], kind: ['string', 5] },
  DNS: {
    query: ['string', 1],
    ips: ['*string', 2],
    ttl: ['uint32', 3],
    cnames: ['*string', 4],
    observation_source: ['string', 5],
    rcode: ['uint32', 6],
    qtypes: ['*string', 7],
    rrtypes: ['*string', 8],
  },
  HTTP: { code: ['uint32', 1], method: ['string', 2], url: ['string', 3], protocol: ['string', 4] },
  HTTPHeader: { key: ['string', 1], value: ['string', 2] },
  Layer7: { type: ['L7FlowType', 1], latency_ns: ['uint64', 2], dns: ['DNS', 100], http: ['HTTP', 101] },
  Flow: {
    time: ['Timestamp', 1],
    verdict: ['Verdict', 2],
    drop_reason: ['uint32', 3],
    IP: ['IP', 5],
    l4: ['Layer4', 6],
    source: ['Endpoint', 8],
    destination: ['Endpoint', 9],
    Type: ['FlowType', 10],
    node_name: ['string', 11],
    source_names: ['*string', 13],
    destination_names: ['*string', 14],
    l7: ['Layer7', 15],
    event_type: ['CiliumEventType', 19],
    source_service: ['Service', 20],
    destination_service: ['Service', 21],
    traffic_direction: ['TrafficDirection', 22],
    policy_match_type: ['uint32', 23],
    trace_observation_point: ['TraceObservationPoint', 24],
    drop_reason_desc: ['uint32', 25],
    is_reply: ['BoolValue', 26],
    uuid: ['string', 34],
    emitter: ['Emitter', 41],
    egress_allowed_by: ['*Policy', 21001],
    ingress_allowed_by: ['*Policy', 21002],
    egress_denied_by: ['*Policy', 21004],
    ingress_denied_by: ['*Policy', 21005],
    Summary: ['string', 100000],
  },
  LostEvent: { source: ['uint32', 1], num_events_lost: ['uint64', 2] },
  EventTypeFilter: { type: ['int32', 1], match_sub_type: ['bool', 2], sub_type: ['int32', 3] },
  FlowFilter: {
    source_ip: ['*string', 1],
    source_pod: ['*string', 2],
    destination_ip: ['*string', 3],
    destination_pod: ['*string', 4],
    verdict: ['*Verdict', 5],
    event_type: ['*EventTypeFilter', 6],
    source_fqdn: ['*string', 7],
    destination_fqdn: ['*string', 8],
    http_status_code: ['*string', 9],
    source_label: ['*string', 10],
    destination_label: ['*string', 11],
    protocol: ['*string', 12],
    source_port: ['*string', 13],
    destination_port: ['*string', 14],
    reply: ['*bool', 15],
    source_service: ['*string', 16],
    destination_service: ['*string', 17],
    dns_query: ['*string', 18],
    source_identity: ['*uint32', 19],
    destination_identity: ['*uint32', 20],
    http_method: ['*string', 21],
    http_path: ['*string', 22],
    tcp_flags: ['*TCPFlags', 23],
    node_name: ['*string', 24],
    ip_version: ['*IPVersion', 25],
    source_workload: ['*Workload', 26],
    destination_workload: ['*Workload', 27],
    trace_id: ['*string', 28],
    uuid: ['*string', 29],
    traffic_direction: ['*TrafficDirection', 30],
    http_url: ['*string', 31],
    http_header: ['*HTTPHeader', 32],
    drop_reason_desc: ['*uint32', 33],
    source_ip_xlated: ['*string', 34],
    node_labels: ['*string', 36],
    source_cluster_name: ['*string', 37],
    destination_cluster_name: ['*string', 38],
  },
  GetFlowsRequest: {
    number: ['uint64', 1],
    follow: ['bool', 3],
    blacklist: ['*FlowFilter', 5],
    whitelist: ['*FlowFilter', 6],
    since: ['Timestamp', 7],
    until: ['Timestamp', 8],
    first: ['bool', 9],
  },
  GetFlowsResponse: {
    flow: ['Flow', 1],
    lost_events: ['LostEvent', 3],
    node_name: ['string', 1000],
    time: ['Timestamp', 1001],
  },
  Empty: {},
  ServerStatusResponse: {
    num_flows: ['uint64', 1],
    max_flows: ['uint64', 2],
    seen_flows: ['uint64', 3],
    uptime_ns: ['uint64', 4],
    num_connected_nodes: ['UInt32Value', 5],
    num_unavailable_nodes: ['UInt32Value', 6],
    unavailable_nodes: ['*string', 7],
    version: ['string', 8],
    flows_rate: ['double', 9],
  },
  Node: {
    name: ['string', 1],
    version: ['string', 2],
    address: ['string', 3],
    state: ['uint32', 4],
    uptime_ns: ['uint64', 6],
    num_flows: ['uint64', 7],
    max_flows: ['uint64', 8],
    seen_flows: ['uint64', 9],
  },
  GetNodesResponse: { nodes: ['*Node', 1] },
  Namespace: { cluster: ['string', 1], namespace: ['string', 2] },
  GetNamespacesResponse: { namespaces: ['*Namespace', 1] },
  HealthCheckRequest: { service: ['string', 1] },
  HealthCheckResponse: { status: ['uint32', 1] },
};

const ENUMS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  Verdict: {
    VERDICT_UNKNOWN: 0,
    FORWARDED: 1,
    DROPPED: 2,
    ERROR: 3,
    AUDIT: 4,
    REDIRECTED: 5,
    TRACED: 6,
    TRANSLATED: 7,
  },
  IPVersion: { IP_NOT_USED: 0, IPv4: 1, IPv6: 2 },
  FlowType: { UNKNOWN_TYPE: 0, L3_L4: 1, L7: 2 },
  L7FlowType: { UNKNOWN_L7_TYPE: 0, REQUEST: 1, RESPONSE: 2 },
  TrafficDirection: { TRAFFIC_DIRECTION_UNKNOWN: 0, INGRESS: 1, EGRESS: 2 },
  TraceObservationPoint: { UNKNOWN_POINT: 0, TO_STACK: 3, TO_OVERLAY: 4, TO_ENDPOINT: 101 },
};

const root = protobuf.Root.fromJSON({
  nested: {
    ...Object.fromEntries(
      Object.entries(MESSAGES).map(([name, fields]) => [
        name,
        {
          fields: Object.fromEntries(
            Object.entries(fields).map(([field, [type, id]]) => [
              field,
              type.startsWith('*') ? { type: type.slice(1), id, rule: 'repeated' } : { type, id },
            ]),
          ),
        },
      ]),
    ),
    ...Object.fromEntries(Object.entries(ENUMS).map(([name, values]) => [name, { values }])),
  },
});

/** Serializer and parser of a message. Numbers of 64 bits are strings; enums are their names. */
export function codecOf<T extends object>(name: string): { encode(message: T): Buffer; decode(bytes: Buffer): T } {
  const type = root.lookupType(name);
  return {
    encode: (message) => Buffer.from(type.encode(type.fromObject(message as Record<string, unknown>)).finish()),
    decode: (bytes) => type.toObject(type.decode(bytes), { longs: String, enums: String, arrays: true }) as T,
  };
}
