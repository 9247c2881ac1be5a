/** The filters of a request (FlowFilter) as tests of flows. */
import {
  byDirection,
  byIdentity,
  byIp,
  byIpVersion,
  byLabel,
  byNode,
  byPod,
  byPort,
  byProtocol,
  byService,
  byTcpFlags,
  byTranslatedIp,
  byUuid,
  byVerdict,
  byWorkload,
  type End,
  type FlowFilter,
  FlowFilters,
  TCP_FLAGS,
  type Test,
} from '../filter.ts';
import { byDnsQuery, byFqdn, byHttpMethod, byHttpPath, byHttpStatus, byHttpUrl } from '../layer7-filter.ts';
import { codecOf } from './schema.ts';

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
      return byIdentity(side, text);
    case 'fqdn':
      return byFqdn(side, text);
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
      return byIpVersion(text);
    case 'uuid':
      return byUuid(text);
    case 'traffic_direction':
      return byDirection(text);
    case 'source_ip_xlated':
      return byTranslatedIp(text);
    case 'dns_query':
      return byDnsQuery(text);
    case 'http_status_code':
      return byHttpStatus(text);
    case 'http_method':
      return byHttpMethod(text);
    case 'http_path':
      return byHttpPath(text);
    case 'http_url':
      return byHttpUrl(text);
    case 'drop_reason_desc':
      return ({ drop_reason }) => drop_reason === Number(value);
    default:
      return undefined;
  }
}

/** A filter as JSON: names of fields as in the .proto file or in camel case. @throws UnsupportedFilter, SyntaxError, TypeError */
export function filterOfJson(text: string): FlowFilter {
  const given = JSON.parse(text) as Record<string, unknown>;
  const fields = Object.entries(given).map(([name, value]): [string, unknown] => [
    name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    value,
  ]);
  const { encode, decode } = codecOf<FilterMessage>('FlowFilter');
  const message = decode(encode(Object.fromEntries(fields) as FilterMessage));
  const unknown = fields.find(([name]) => !(name in message));
  if (unknown !== undefined) throw new UnsupportedFilter(`the field ${unknown[0]} is not known`);
  return filterOf(message);
}

/** Clients may send the cluster's name in front of a node's: `default/n1`; `default/` is every node. */
const withoutCluster = (text: string): string => text.slice(text.lastIndexOf('/') + 1) || '*';
