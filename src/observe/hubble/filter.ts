/**
 * Hubble's filters: a flow passes a filter if it matches one of the values of every property that the filter has, and
 * passes a list of filters if one of them does (cilium pkg/hubble/filters).
 */
import { contains, parseCidr, parseIp, type Range, rangeOf } from '../../net/address.ts';
import {
  EventType,
  type Flow,
  type FlowEndpoint,
  type FlowVerdict,
  ownReason,
  reservedIdentity,
  type TcpFlag,
} from './flow.ts';

export type Test = (flow: Flow) => boolean;

/** The tests of each property, one for each of its values. A property is named as in the filter that was given. */
export type FlowFilter = Readonly<Record<string, readonly Test[]>>;

export type End = 'source' | 'destination';

/** One list that a flow must pass, if it has filters, and one that it must not. */
export class FlowFilters {
  private readonly allow: readonly FlowFilter[];
  private readonly deny: readonly FlowFilter[];

  constructor(allow: readonly FlowFilter[], deny: readonly FlowFilter[]) {
    this.allow = allow;
    this.deny = deny;
  }

  passes(flow: Flow): boolean {
    const { allow, deny } = this;
    return (allow.length === 0 || allow.some((filter) => matches(filter, flow))) && !deny.some((f) => matches(f, flow));
  }
}

function matches(filter: FlowFilter, flow: Flow): boolean {
  for (const tests of Object.values(filter)) if (!tests.some((test) => test(flow))) return false;
  return true;
}

const endpointOf = (flow: Flow, end: End): FlowEndpoint | undefined => flow[end];

/** `web`, `shop/web` or `/web`: the beginning of a pod's name, in `home`, in another namespace, or in any. */
export function byPod(end: End, text: string, home: string): Test {
  const [namespace, prefix] = namespaced(text, home);
  return (flow) => {
    const { pod_name = '', namespace: own } = endpointOf(flow, end) ?? {};
    return pod_name !== '' && (namespace === '' || own === namespace) && pod_name.startsWith(prefix);
  };
}

/** Of the pod; a Service's namespace does not count, as in Hubble. */
export function byNamespace(end: End, namespace: string): Test {
  return (flow) => endpointOf(flow, end)?.namespace === namespace;
}

/** As byPod. */
export function byService(end: End, text: string, home: string): Test {
  const [namespace, prefix] = namespaced(text, home);
  const service = end === 'source' ? 'source_service' : 'destination_service';
  return (flow) => {
    const known = flow[service];
    if (known === undefined || (namespace !== '' && known.namespace !== namespace)) return false;
    return known.name.startsWith(prefix);
  };
}

/** An address or a network. Undefined if the text is neither. */
export const byIp = (end: End, text: string): Test | undefined => byAddress(text, ({ IP }) => IP?.[end]);

/** The address that the source is masqueraded with. Undefined if the text is neither an address nor a network. */
export const byTranslatedIp = (text: string): Test | undefined => byAddress(text, ({ IP }) => IP?.source_xlated);

function byAddress(text: string, addressOf: (flow: Flow) => string | undefined): Test | undefined {
  const ip = parseIp(text);
  const range: Range | undefined = ip === undefined ? parseCidr(text) : rangeOf(ip);
  if (range === undefined) return undefined;
  return (flow) => {
    const address = addressOf(flow);
    const own = address === undefined ? undefined : parseIp(address);
    return own !== undefined && contains(range, own);
  };
}

/** A number, or the name of a reserved identity. Undefined if the text is neither. */
export function byIdentity(end: End, text: string): Test | undefined {
  const identity = /^\d+$/.test(text) ? Number(text) : reservedIdentity(text);
  return identity === undefined ? undefined : (flow) => flow[end]?.identity === identity;
}

/** @param version IPv4 or IPv6 */
export const byIpVersion =
  (version: string): Test =>
  ({ IP }) =>
    IP?.ipVersion === version;

export const byUuid =
  (text: string): Test =>
  ({ uuid }) =>
    uuid === text;

export function byPort(end: End, port: number): Test {
  const side = end === 'source' ? 'source_port' : 'destination_port';
  return ({ l4 }) => (l4?.TCP ?? l4?.UDP ?? l4?.SCTP)?.[side] === port;
}

/** `app=web` or `app`; `reserved:world`; `k8s:app=web`. A label without a source is one of any source. */
export function byLabel(end: End, text: string): Test {
  const wanted = text.split(',').map(parseLabel);
  return (flow) => {
    const labels = (endpointOf(flow, end)?.labels ?? []).map(parseLabel);
    return wanted.every(({ source, key, value }) =>
      labels.some(
        (own) =>
          own.key === key &&
          (source === undefined || own.source === source) &&
          (value === undefined || own.value === value),
      ),
    );
  };
}

function parseLabel(text: string): { source: string | undefined; key: string; value: string | undefined } {
  const [, source, key = '', value] = /^(?:([a-z0-9]+):)?([^=]*)(?:=(.*))?$/.exec(text) ?? [];
  return { source, key, value };
}

export function byWorkload(end: End, text: string): Test {
  const [kind, name] = text.includes('/') ? text.split('/', 2) : [undefined, text];
  return (flow) =>
    (endpointOf(flow, end)?.workloads ?? []).some(
      (own) => own.name === name && (kind === undefined || own.kind.toLowerCase() === kind.toLowerCase()),
    );
}

/** The names of the protocols that flows can have. */
export const PROTOCOLS = ['tcp', 'udp', 'sctp', 'icmp', 'icmpv4', 'icmpv6', 'dns', 'http'] as const;

/** Undefined if no flow can have this protocol. */
export function byProtocol(text: string): Test | undefined {
  const name = text.toLowerCase();
  if (name === 'dns' || name === 'http') return ({ l7 }) => l7?.[name] !== undefined;
  const keys: Readonly<Record<string, readonly (keyof NonNullable<Flow['l4']>)[]>> = {
    tcp: ['TCP'],
    udp: ['UDP'],
    sctp: ['SCTP'],
    icmp: ['ICMPv4', 'ICMPv6'],
    icmpv4: ['ICMPv4'],
    icmpv6: ['ICMPv6'],
  };
  const wanted = keys[name];
  return wanted && (({ l4 }) => wanted.some((key) => l4?.[key] !== undefined));
}

export const VERDICTS_OF_FLOWS: readonly FlowVerdict[] = ['FORWARDED', 'DROPPED'];

export const byVerdict =
  (verdict: string): Test =>
  (flow) =>
    flow.verdict === verdict;

export const TCP_FLAGS: readonly TcpFlag[] = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR', 'NS'];

/** A packet with all of these flags; it may have more. */
export function byTcpFlags(flags: readonly TcpFlag[]): Test {
  return ({ l4 }) => {
    const own = l4?.TCP?.flags;
    return own !== undefined && flags.every((flag) => own[flag]);
  };
}

const TYPES: Readonly<Record<string, number>> = {
  trace: EventType.TRACE,
  drop: EventType.DROP,
  'policy-verdict': EventType.POLICY_VERDICT,
  l7: EventType.L7,
};

/** `trace`, `drop`, `policy-verdict`, `l7`, `trace:to-endpoint`. Undefined if there is no such type. */
export function byType(text: string, subTypes: ReadonlyMap<string, number>): Test | undefined {
  const [name, sub] = text.split(':', 2);
  const type = TYPES[name ?? ''];
  const number = sub === undefined ? undefined : subTypes.get(sub);
  if (
    type === undefined ||
    (sub !== undefined && type !== EventType.TRACE) ||
    (sub !== undefined && number === undefined)
  )
    return undefined;
  return ({ event_type }) => event_type.type === type && (number === undefined || event_type.sub_type === number);
}

/** Cilium's name of the reason, or ours. */
export const byDropReason =
  (text: string): Test =>
  (flow) =>
    flow.event_type.type === EventType.DROP &&
    (flow.drop_reason_desc === text.toUpperCase() || ownReason(flow) === text.toLowerCase());

/** @param text name of a node; `*` stands for any text */
export function byNode(text: string): Test {
  const is = isNode(text);
  return (flow) => is(flow.node_name);
}

/** As byNode, of a name. */
export function isNode(text: string): (name: string) => boolean {
  const literal = (part: string): string => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
  const pattern = new RegExp(`^${text.split('*').map(literal).join('.*')}$`);
  return (name) => pattern.test(name);
}

export const byDirection =
  (direction: string): Test =>
  (flow) =>
    flow.traffic_direction === direction;

function namespaced(text: string, home: string): [namespace: string, name: string] {
  const slash = text.indexOf('/');
  return slash < 0 ? [home, text] : [text.slice(0, slash), text.slice(slash + 1)];
}
