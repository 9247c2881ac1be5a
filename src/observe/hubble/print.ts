/** Flows as Hubble prints them (cilium hubble/pkg/printer/printer.go): one line, columns, or key and value. */
import { reasonText } from './drop-reasons.ts';
import {
  EventType,
  type Flow,
  ObservationPoints,
  OTHER_REASON,
  ownReason,
  POLICY_MATCH_NAMES,
  PolicyMatch,
  printIdentity,
} from './flow.ts';

export interface PrintOptions {
  readonly nodeName: boolean;
  /** Addresses instead of names. */
  readonly numeric: boolean;
  /** Names of policies, in policy verdicts. */
  readonly policyNames?: boolean;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const POINT_TEXTS: ReadonlyMap<number, string> = new Map(
  Object.values(ObservationPoints).map(({ number, text }) => [number, text]),
);

/** Go's time.StampMilli, in UTC: `Nov  8 09:03:00.120`. */
export function stampMilli(time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return 'N/A';
  const day = String(date.getUTCDate()).padStart(2);
  return `${MONTHS[date.getUTCMonth()]} ${day} ${date.toISOString().slice(11, 23)}`;
}

/** Names and ports of both ends, as in the packet. */
function hostNames(flow: Flow, numeric: boolean): { source: string; destination: string } {
  const { IP, l4 } = flow;
  if (IP === undefined) return { source: '', destination: '' };
  const ports = l4?.TCP ?? l4?.UDP ?? l4?.SCTP;
  const name = (end: 'source' | 'destination'): string => {
    if (numeric) return IP[end];
    const { namespace = '', pod_name = '' } = flow[end] ?? {};
    const service = flow[end === 'source' ? 'source_service' : 'destination_service'];
    if (pod_name !== '') return joined(service?.namespace ?? namespace, pod_name);
    if (service !== undefined) return joined(service.namespace, service.name);
    const names = flow[end === 'source' ? 'source_names' : 'destination_names'] ?? [];
    return names.length === 0 ? IP[end] : names.join(',');
  };
  return {
    source: withPort(name('source'), ports?.source_port),
    destination: withPort(name('destination'), ports?.destination_port),
  };
}

const joined = (namespace: string, name: string): string => (namespace === '' ? name : `${namespace}/${name}`);

function withPort(host: string, port: number | undefined): string {
  if (!port) return host;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The column TYPE: where a packet was seen, or why it was dropped; `dns-response packet`, `http-request`. */
function typeOf(flow: Flow): string {
  const { event_type, l7, policy_match_type = PolicyMatch.NONE, traffic_direction } = flow;
  if (l7 !== undefined) {
    const kind = l7.type.toLowerCase();
    return l7.dns === undefined ? `http-${kind}` : `dns-${kind} ${l7.dns.observation_source}`;
  }
  const { type, sub_type = 0 } = event_type;
  if (type === EventType.POLICY_VERDICT) {
    return `policy-verdict:${POLICY_MATCH_NAMES[policy_match_type] ?? 'unknown'} ${traffic_direction}`;
  }
  if (type === EventType.TRACE) return POINT_TEXTS.get(sub_type) ?? String(sub_type);
  if (type !== EventType.DROP) return 'UNKNOWN';
  return sub_type === OTHER_REASON ? ownReason(flow) : (reasonText(sub_type) ?? String(sub_type));
}

/** The column VERDICT. A policy verdict is ALLOWED or DENIED. */
function verdictOf(flow: Flow, policyNames = false): string {
  if (flow.event_type.type !== EventType.POLICY_VERDICT) return flow.verdict;
  const allowed = flow.verdict === 'FORWARDED';
  const egress = flow.traffic_direction === 'EGRESS';
  const allowedBy = egress ? flow.egress_allowed_by : flow.ingress_allowed_by;
  const deniedBy = egress ? flow.egress_denied_by : flow.ingress_denied_by;
  const policies = allowed ? allowedBy : deniedBy;
  const names = policyNames ? (policies ?? []).map(({ name, kind }) => `${name} (${kind})`).join(', ') : '';
  return `${allowed ? 'ALLOWED' : 'DENIED'}${names === '' ? '' : ` BY ${names}`}`;
}

/** `time [node]: source (identity) -> destination (identity) TYPE VERDICT (summary)`; replies with `<-`. */
export function printCompact(flow: Flow, { nodeName, numeric, policyNames }: PrintOptions): string {
  const { source, destination } = hostNames(flow, numeric);
  const from = `${source} ${printIdentity(flow.source?.identity ?? 0)}`;
  const to = `${destination} ${printIdentity(flow.destination?.identity ?? 0)}`;
  const ends =
    flow.is_reply === undefined ? `${from} <> ${to}` : flow.is_reply ? `${to} <- ${from}` : `${from} -> ${to}`;
  const node = nodeName ? ` [${flow.node_name}]` : '';
  return `${stampMilli(flow.time)}${node}: ${ends} ${typeOf(flow)} ${verdictOf(flow, policyNames)} (${flow.Summary})`;
}

export function tableHeader({ nodeName }: PrintOptions): string[] {
  return ['TIMESTAMP', ...(nodeName ? ['NODE'] : []), 'SOURCE', 'DESTINATION', 'TYPE', 'VERDICT', 'SUMMARY'];
}

export function tableRow(flow: Flow, { nodeName, numeric, policyNames }: PrintOptions): string[] {
  const { source, destination } = hostNames(flow, numeric);
  const node = nodeName ? [flow.node_name] : [];
  return [
    stampMilli(flow.time),
    ...node,
    source,
    destination,
    typeOf(flow),
    verdictOf(flow, policyNames),
    flow.Summary,
  ];
}

const KEY_WIDTH = 'DESTINATION'.length;

/** One key and value a line. */
export function printDict(flow: Flow, options: PrintOptions): string {
  const values = tableRow(flow, options);
  return tableHeader(options)
    .map((key, i) => `${key.padStart(KEY_WIDTH)}: ${values[i]}`)
    .join('\n');
}

/** Between two flows of the form above. */
export const DICT_SEPARATOR = '------------';
