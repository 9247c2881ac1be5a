/** Hubble's filters on the command line (hubble observe --help). */
import { VERDICTS } from '../../../native-free-dataplane/verdicts.ts';
import { nearestWord } from '../../api/nearest-word.ts';
import { CILIUM_REASONS } from '../../observe/hubble/drop-reasons.ts';
import {
  byDirection,
  byDropReason,
  byIdentity,
  byIp,
  byIpVersion,
  byLabel,
  byNamespace,
  byNode,
  byPod,
  byPort,
  byProtocol,
  byService,
  byTcpFlags,
  byTranslatedIp,
  byType,
  byUuid,
  byVerdict,
  byWorkload,
  type End,
  type FlowFilter,
  FlowFilters,
  isNode,
  PROTOCOLS,
  TCP_FLAGS,
  type Test,
  VERDICTS_OF_FLOWS,
} from '../../observe/hubble/filter.ts';
import type { TcpFlag } from '../../observe/hubble/flow.ts';
import { ObservationPoints } from '../../observe/hubble/flow.ts';
import { byFqdn, byHttpMethod, byHttpPath, byHttpStatus, byHttpUrl } from '../../observe/hubble/layer7-filter.ts';
import { filterOfJson } from '../../observe/hubble/server/request-filter.ts';
import { usageError } from '../errors.ts';
import type { Args, Options } from './args.ts';
import { dnsLabel, oneOf, portNumber } from './values.ts';

const ENDS = ['pod', 'ip', 'port', 'namespace', 'service', 'label', 'workload', 'fqdn', 'identity'] as const;
type EndProperty = (typeof ENDS)[number];

const END_HELP: Readonly<Record<EndProperty, readonly [value: string, help: string, short?: string]>> = {
  pod: ['[NAMESPACE/]POD', "beginning of a pod's name"],
  ip: ['IP', 'an address, or a network with /PREFIX'],
  port: ['PORT', 'a TCP, UDP or SCTP port'],
  namespace: ['NAME', 'namespace of a pod or Service', 'n'],
  service: ['[NAMESPACE/]NAME', "beginning of the name of a Service, at the client's side"],
  label: ['KEY[=VALUE]', 'label of a pod, or reserved:world, reserved:host, reserved:remote-node', 'l'],
  workload: ['[KIND/]NAME', 'Deployment, StatefulSet or the like that owns the pod'],
  fqdn: ['NAME', 'name that the other end has looked up the address by; * stands for any text'],
  identity: ['NUMBER', 'identity of a pod, or host, world or remote-node'],
};

function endOptions(): Options {
  const options: Record<string, Options[string]> = {};
  for (const property of ENDS) {
    const [value, help, short] = END_HELP[property];
    options[property] = { value, multiple: true, help: `source or destination: ${help}`, ...(short && { short }) };
    options[`from-${property}`] = { value, multiple: true, help: `the same of the source` };
    options[`to-${property}`] = { value, multiple: true, help: `the same of the destination` };
  }
  return options;
}

export const FLOW_FILTER_OPTIONS: Options = {
  ...endOptions(),
  protocol: { value: 'PROTOCOL', multiple: true, help: PROTOCOLS.join(', ') },
  verdict: { value: 'VERDICT', multiple: true, help: VERDICTS_OF_FLOWS.join(' or ') },
  'tcp-flags': {
    value: 'FLAGS',
    multiple: true,
    help: 'TCP flags of the packet that caused the event, such as syn,ack',
  },
  type: {
    short: 't',
    value: 'TYPE[:SUBTYPE]',
    multiple: true,
    help: 'trace, drop, policy-verdict, l7, or such as trace:to-overlay',
  },
  'drop-reason-desc': { value: 'REASON', multiple: true, help: "Cilium's name of a reason, or ours (docs/drops.md)" },
  'node-name': { value: 'PATTERN', multiple: true, help: 'node that has seen the packet; * stands for any text' },
  'traffic-direction': {
    value: 'DIRECTION',
    multiple: true,
    help: 'ingress or egress, as seen from a pod of the node',
  },
  'ip-version': { value: 'VERSION', multiple: true, help: '4 or 6' },
  ipv4: { short: '4', help: 'the same as --ip-version 4' },
  ipv6: { short: '6', help: 'the same as --ip-version 6' },
  'snat-ip': { value: 'IP', multiple: true, help: 'address that the source is masqueraded with, or a network' },
  'http-status': {
    value: 'CODE',
    multiple: true,
    help: 'status code such as 404; 5+ stands for all that begin with 5',
  },
  'http-method': { value: 'METHOD', multiple: true, help: 'method of a request, such as get' },
  'http-path': { value: 'PATTERN', multiple: true, help: 'regular expression for the path of a URL' },
  'http-url': { value: 'PATTERN', multiple: true, help: 'regular expression for a URL' },
  uuid: { value: 'UUID', multiple: true, help: 'the flow with this identifier' },
  'all-namespaces': { short: 'A', help: 'names without a namespace are those of any, not of default' },
  not: { help: 'reverse the next filter' },
  allowlist: {
    value: 'JSON',
    multiple: true,
    help: "a filter as a message of Hubble's API (FlowFilter); flows must pass one",
  },
  denylist: { value: 'JSON', multiple: true, help: 'the same; flows must pass none' },
};

interface Given {
  readonly name: string;
  readonly value: string;
}

/** Reads the filters in their order: `--not` applies to the one that follows. @throws CliError with status 2 */
export function readFlowFilters(args: Args): FlowFilters {
  const allow: Given[] = [];
  const deny: Given[] = [];
  let reversed = false;
  for (const { name, value } of args.inOrder) {
    if (name === 'not') reversed = true;
    else if (name === 'allowlist' || name === 'denylist' || name === 'all-namespaces') continue;
    else if (name === 'ipv4' || name === 'ipv6') {
      (reversed ? deny : allow).push({ name: 'ip-version', value: name.slice(-1) });
      reversed = false;
    } else if (Object.hasOwn(FLOW_FILTER_OPTIONS, name) && value !== undefined) {
      (reversed ? deny : allow).push({ name, value });
      reversed = false;
    }
  }
  if (reversed) throw usageError('--not has no filter after it', 'give it before the filter that it reverses');
  const messages = (name: 'allowlist' | 'denylist') =>
    args.texts(name).map((text) => readFilterMessage(text, `--${name}`));
  const home = args.flag('all-namespaces') ? '' : 'default';
  return new FlowFilters(
    [...combined(allow, home), ...messages('allowlist')],
    [...combined(deny, home), ...messages('denylist')],
  );
}

/**
 * Can messages of applications pass the filters, or are they needed for one? If not, nodes need not look for them. Only
 * what is asked for most is considered.
 */
export function mayBeMessages(args: Args): boolean {
  const of = (wanted: string) => valuesOf(args, wanted);
  if (args.inOrder.some(({ name }) => name.endsWith('fqdn'))) return true;
  const [types, verdicts, protocols] = [of('type'), of('verdict'), of('protocol')];
  return (
    (types.length === 0 || types.includes('l7')) &&
    (verdicts.length === 0 || verdicts.includes('forwarded')) &&
    (protocols.length === 0 || protocols.some((one) => ['dns', 'http', 'udp', 'tcp'].includes(one))) &&
    of('tcp-flags').length + of('drop-reason-desc').length === 0
  );
}

/**
 * Can events of connections pass the filters? If not, nodes need not record them. As above, only what is asked for most is
 * considered.
 */
export function mayBeConnections(args: Args): boolean {
  if (args.has('allowlist')) return true;
  const [types, verdicts] = [valuesOf(args, 'type'), valuesOf(args, 'verdict')];
  return (
    (types.length === 0 || types.some((type) => /^(trace|policy-verdict)/.test(type))) &&
    (verdicts.length === 0 || verdicts.includes('forwarded')) &&
    valuesOf(args, 'drop-reason-desc').length === 0
  );
}

/** The nodes whose events can pass the filters; all if none can. */
export function nodesThatMayPass(args: Args, nodes: readonly string[]): readonly string[] {
  const patterns = valuesOf(args, 'node-name');
  if (patterns.length === 0 || args.has('allowlist')) return nodes;
  const passing = nodes.filter((node) => patterns.some((pattern) => isNode(pattern)(node)));
  return passing.length > 0 ? passing : nodes;
}

/** Values of a filter that is not reversed, in lower case. */
function valuesOf({ inOrder }: Args, wanted: string): string[] {
  return inOrder.flatMap(({ name, value = '' }, at) =>
    name === wanted && inOrder[at - 1]?.name !== 'not' ? [value.toLowerCase()] : [],
  );
}

/**
 * One filter; or two, about the source and the destination, if there is an option about either end. Values of the same
 * property are alternatives, different properties must all match.
 */
function combined(given: readonly Given[], home: string): FlowFilter[] {
  if (given.length === 0) return [];
  const eitherEnd = given.some(({ name }) => ENDS.some((property) => property === name));
  return (eitherEnd ? (['source', 'destination'] as const) : (['source'] as const)).map((end) =>
    filterOf(given, end, home),
  );
}

function filterOf(given: readonly Given[], either: End, home: string): FlowFilter {
  const filter: Record<string, Test[]> = {};
  const add = (property: string, test: Test) => {
    filter[property] = [...(filter[property] ?? []), test];
  };
  for (const { name, value } of given) {
    const end = name.startsWith('from-') ? 'source' : name.startsWith('to-') ? 'destination' : either;
    const property = ENDS.find((one) => one === name.replace(/^(from|to)-/, ''));
    if (property !== undefined)
      add(`${end}-${property}`, endTest(property, end, name, value, homeOf(end, given) ?? home));
    else add(name, flowTest(name, value));
  }
  return filter;
}

/** @param home namespace of a name without one; '' is any */
function endTest(property: EndProperty, end: End, name: string, value: string, home: string): Test {
  const option = `--${name}`;
  switch (property) {
    case 'pod':
      return byPod(end, value, home);
    case 'service':
      return byService(end, value, home);
    case 'namespace':
      return byNamespace(end, dnsLabel(value, option));
    case 'ip':
      return byIp(end, value) ?? refuse(option, value, 'an address or a network such as 10.96.0.0/12');
    case 'port':
      return byPort(end, portNumber(value, option));
    case 'label':
      return byLabel(end, value);
    case 'workload':
      return byWorkload(end, value);
    case 'fqdn':
      return byFqdn(end, value) ?? refuse(option, value, 'a name such as www.example.com or *.example.com');
    case 'identity':
      return byIdentity(end, value) ?? refuse(option, value, 'a number, host, world or remote-node');
  }
}

/** The namespace that an option gives to names without one. */
function homeOf(end: End, given: readonly Given[]): string | undefined {
  const own = end === 'source' ? 'from-namespace' : 'to-namespace';
  return given.find(({ name }) => name === own || name === 'namespace')?.value;
}

const SUB_TYPES: ReadonlyMap<string, number> = new Map(
  Object.values(ObservationPoints).map(({ text, number }) => [text, number]),
);

function flowTest(name: string, value: string): Test {
  const option = `--${name}`;
  switch (name) {
    case 'protocol':
      return byProtocol(value) ?? refuse(option, value, `one of ${PROTOCOLS.join(', ')}`);
    case 'verdict':
      return byVerdict(oneOf(...VERDICTS_OF_FLOWS)(value.toUpperCase(), option));
    case 'tcp-flags':
      return byTcpFlags(readFlags(value, option));
    case 'type':
      return (
        byType(value, SUB_TYPES) ??
        refuse(option, value, `trace, drop, policy-verdict, l7 or trace:${[...SUB_TYPES.keys()].join('|')}`)
      );
    case 'node-name':
      return byNode(value);
    case 'traffic-direction':
      return byDirection(oneOf('ingress', 'egress')(value.toLowerCase(), option).toUpperCase());
    case 'ip-version':
      return byIpVersion(`IPv${oneOf('4', '6')(value, option)}`);
    case 'snat-ip':
      return byTranslatedIp(value) ?? refuse(option, value, 'an address or a network such as 172.18.0.0/16');
    case 'http-status':
      return byHttpStatus(value) ?? refuse(option, value, 'a status code such as 404, or a beginning such as 5+');
    case 'http-method':
      return byHttpMethod(value);
    case 'http-path':
      return byHttpPath(value) ?? refuse(option, value, 'a regular expression');
    case 'http-url':
      return byHttpUrl(value) ?? refuse(option, value, 'a regular expression');
    case 'uuid':
      return byUuid(value);
    default:
      return byDropReason(readReason(value, option));
  }
}

/** The name of a verdict of ours, or a reason of Cilium: also one that only files from elsewhere have. */
function readReason(text: string, option: string): string {
  const known = [...VERDICTS.flatMap((verdict) => verdict?.name ?? []), ...CILIUM_REASONS];
  if (/^[A-Z][A-Z0-9_]*$/.test(text) || known.some((one) => one.toLowerCase() === text.toLowerCase())) return text;
  const nearest = nearestWord(text, known);
  const expected = nearest === undefined ? 'a reason such as POLICY_DENIED or policy-ingress' : nearest;
  return refuse(option, text, `${expected} (docs/drops.md)`);
}

function readFlags(text: string, option: string): TcpFlag[] {
  return text.split(',').map((name) => {
    const flag = TCP_FLAGS.find((known) => known === name.toUpperCase());
    return flag ?? refuse(option, text, `TCP flags such as syn,ack (${TCP_FLAGS.join(', ')})`);
  });
}

function readFilterMessage(text: string, option: string): FlowFilter {
  try {
    return filterOfJson(text);
  } catch (error) {
    return refuse(
      option,
      text,
      `a FlowFilter as JSON, such as {"source_pod":["default/web"]}: ${(error as Error).message}`,
    );
  }
}

function refuse(option: string, value: string, expected: string): never {
  throw usageError(`${option} ${value}: expected ${expected}`);
}
