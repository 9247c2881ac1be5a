/** The filters of a request (FlowFilter) as tests of flows. */
import {
  byDirection,
  byIp,
  byLabel,
  byNode,
  byPod,
  byPort,
  byProtocol,
  byService,
  byTcpFlags,
  byVerdict,
  byWorkload,
  type End,
  type FlowFilter,
  FlowFilters,
  TCP_FLAGS,
  type Test,
} from '../filter.ts';

/** A FlowFilter as it was received: the fields that were set. */
export type FilterMessage = Readonly<Record<string, readonly unknown[] | undefined>>;

/** A filter that cannot be applied. */
export class UnsupportedFilter extends Error {
  override readonly name = 'UnsupportedFilter';
}

/** @throws UnsupportedFilter */
export function requestFilters(whitelist: readonly FilterMessage[], blacklist: readonly FilterMessage[]): FlowFilters {
  return new FlowFilters(whitelist.map(filterOf), blacklist.map(filterOf));
}

function filterOf(message: FilterMessage): FlowFilter {
  const filter: Record<string, Test[]> = {};
  for (const [field, values] of Object.entries(message)) {
    if (values !== undefined && values.length > 0) filter[field] = values.map((value) => testOf(field, value));
  }
  return filter;
}

function testOf(field: string, value: unknown): Test {
  const found = endTest(field, value) ?? flowTest(field, value);
  if (found === undefined)
    throw new UnsupportedFilter(`the filter ${field} (${JSON.stringify(value)}) is not supported`);
  return found;
}

/** Filters of either end. Names of pods and Services come with their namespace: `default/web`, `/web`, `default/`. */
function endTest(field: string, value: unknown): Test | undefined {
  const [, end, property] = /^(source|destination)_(.+)$/.exec(field) ?? [];
  if (end === undefined) return undefined;
  const side = end as End;
  const text = String(value);
  switch (property) {
    case 'ip':
      return byIp(side, text);
    case 'pod':
      return text.endsWith('/') ? (flow) => flow[side]?.namespace === text.slice(0, -1) : byPod(side, text, 'default');
    case 'label':
      return byLabel(side, text);
    case 'port':
      return byPort(side, Number(text));
    case 'service':
      return byService(side, text, 'default');
    case 'identity':
      return (flow) => flow[side]?.identity === Number(text);
    case 'fqdn':
      // Names that a pod looked up are not known, so no flow has one. Hubble UI always excludes those of `*.cluster.local*`.
      return () => false;
    case 'workload': {
      const { name = '', kind = '' } = value as { name?: string; kind?: string };
      return byWorkload(side, kind === '' ? name : `${kind}/${name}`);
    }
    default:
      return undefined;
  }
}

function flowTest(field: string, value: unknown): Test | undefined {
  const text = String(value);
  switch (field) {
    case 'verdict':
      return byVerdict(text);
    case 'event_type': {
      const {
        type = 0,
        match_sub_type,
        sub_type = 0,
      } = value as {
        type?: number;
        match_sub_type?: boolean;
        sub_type?: number;
      };
      return ({ event_type }) =>
        event_type.type === type && (!match_sub_type || (event_type.sub_type ?? 0) === sub_type);
    }
    case 'protocol':
      return byProtocol(text);
    case 'reply':
      // A dropped packet counts as none, as clients such as Hubble UI expect (cilium pkg/hubble/filters/reply.go).
      return ({ is_reply, verdict }) => (is_reply ?? (verdict === 'DROPPED' ? false : undefined)) === value;
    case 'tcp_flags':
      return byTcpFlags(TCP_FLAGS.filter((flag) => (value as Record<string, boolean>)[flag]));
    case 'node_name':
      return byNode(withoutCluster(text));
    case 'ip_version':
      return ({ IP }) => IP?.ipVersion === text;
    case 'uuid':
      return ({ uuid }) => uuid === text;
    case 'traffic_direction':
      return byDirection(text);
    case 'drop_reason_desc':
      return ({ drop_reason }) => drop_reason === Number(value);
    default:
      return undefined;
  }
}

/** Clients may send the cluster's name in front of a node's: `default/n1`; `default/` is every node. */
const withoutCluster = (text: string): string => text.slice(text.lastIndexOf('/') + 1) || '*';
