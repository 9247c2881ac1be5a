/** `dataplane policy explain`: whether policies allow a connection, and which rule decides. */
import type { ApiClient } from '../../api/client/client.ts';
import { servicePortNamed } from '../../api/service-ports.ts';
import type { Pod } from '../../api/types/objects.ts';
import { isolationText } from '../../compile/policies/deciding-rules.ts';
import { policyAddressOf } from '../../compile/policies/policy-objects.ts';
import {
  type DirectionExplained,
  explainPolicies,
  isolatingPolicies,
  type PolicyEnd,
  type PolicyExplained,
  type PolicyExplanation,
  type PolicyQuestion,
  type RuleExplained,
} from '../../observe/policy/explain.ts';
import type { EndArg } from '../../observe/trace/resolver.ts';
import { type Args, needOperand, operandsAtMost } from '../args/args.ts';
import { readEnd } from '../args/trace-packet.ts';
import { oneOf } from '../args/values.ts';
import { failed, SilentExit, usageError } from '../errors.ts';
import { formatOf, print } from '../output/output.ts';
import { endsOf, livePolicies, type RuleCounts, ruleCounts } from '../sources/policies.ts';
import { namespaceOf, withClient } from '../with-client.ts';

const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132, icmp: 1 } as const;

export async function explainConnection(args: Args): Promise<void> {
  const from = readEnd(needOperand('policy explain', args, 1, 'FROM'), 'FROM');
  const to = readEnd(needOperand('policy explain', args, 2, 'TO'), 'TO');
  operandsAtMost('policy explain', args, 3);
  const json = formatOf(args.text('output'), ['json']) === 'json';
  const protocol = PROTOCOLS[args.value('protocol', oneOf('tcp', 'udp', 'sctp', 'icmp')) ?? 'tcp'];
  const namespace = namespaceOf(args);
  const { questions, objects } = await withClient(async (client) => {
    const live = await livePolicies(client);
    return { questions: await questionsOf(client, live.pods, { from, to, protocol, namespace }), objects: live };
  });
  const counts = ruleCounts();
  const explained = questions.map((question) => {
    const { directions, ...rest } = explainPolicies(question, objects);
    return { question, ...rest, directions: directions.map((direction) => withCounts(direction, counts)) };
  });
  if (json) print(JSON.stringify(explained.map(asJson), null, 2));
  else print(explained.map(textOf).join('\n\n'));
  if (explained.some(({ verdict }) => verdict === 'denied')) throw new SilentExit(1);
}

interface Asked {
  readonly from: EndArg;
  readonly to: EndArg;
  readonly protocol: number;
  readonly namespace: string;
}

/** One question for each endpoint of a Service, one otherwise. */
async function questionsOf(client: ApiClient, pods: readonly Pod[], asked: Asked): Promise<PolicyQuestion[]> {
  const { from, to, protocol, namespace } = asked;
  const endAt = endsOf(pods);
  const endOf = (end: EndArg, option: string): PolicyEnd => {
    if (end.kind === 'ip') return endAt(end.name);
    if (end.kind !== 'pod') throw usageError(`${option}: expected pod/NAME or an IPv4 address`);
    const pod = pods.find(({ metadata }) => metadata.name === end.name && metadata.namespace === namespace);
    if (pod === undefined) throw failed(`there is no pod ${end.name} in namespace ${namespace}`);
    const ip = policyAddressOf(pod);
    if (ip === undefined) throw failed(`pod ${end.name} has no address of its own`, 'policies do not apply to it');
    return endAt(ip);
  };
  const sender = endOf(from, 'FROM');
  if (to.kind === 'svc') {
    const endpoints = await endpointsOf(client, to, protocol, namespace);
    return endpoints.map(({ ip, port }) => ({
      from: sender,
      to: endAt(ip),
      protocol,
      port,
      throughService: true,
    }));
  }
  const isPing = protocol === PROTOCOLS.icmp;
  if (!isPing && to.port === undefined) throw usageError('TO needs a port', 'such as pod/web:80');
  const receiver = endOf(to, 'TO');
  const named = receiver.pod?.ports.find(({ name }) => name === to.port)?.port;
  const port = isPing ? 0 : (named ?? Number(to.port));
  if (!(port >= 0 && port <= 65535)) throw usageError(`TO: ${receiver.text} has no port named "${to.port}"`);
  return [{ from: sender, to: receiver, protocol, port }];
}

async function endpointsOf(client: ApiClient, { name, port: wanted }: EndArg, protocol: number, namespace: string) {
  const { SERVICE_PROTOCOLS } = await import('../../../native-free-dataplane/protocols.ts');
  const { WellKnown } = await import('../../api/types/objects.ts');
  const service = await client.get('Service', name, namespace);
  const ports = (service.spec.ports ?? []).filter((port) => SERVICE_PROTOCOLS[port.protocol ?? 'TCP'] === protocol);
  const port = wanted === undefined ? ports[0] : servicePortNamed(ports, wanted);
  if (port === undefined) throw failed(`service ${name} has no such port${wanted ? ` (${wanted})` : ''}`);
  const slices = await client.list('EndpointSlice', { namespace, labelSelector: `${WellKnown.SERVICE_NAME}=${name}` });
  const found = slices.items.flatMap(({ endpoints, ports: numbers = [] }) => {
    const number = numbers.find((one) => (one.name ?? '') === (port.name ?? ''))?.port;
    if (number === undefined) return [];
    return endpoints.flatMap(({ addresses }) => addresses.map((ip) => ({ ip, port: number })));
  });
  if (found.length === 0)
    throw failed(`service ${name} has no endpoints`, `see \`dataplane describe service ${name}\``);
  return found;
}

/** A direction with how often each rule has decided, and isolation: what no rule allowed. */
interface CountedDirection extends Omit<DirectionExplained, 'policies'> {
  readonly policies: readonly CountedPolicy[];
  readonly isolationDecided: number;
}
interface CountedPolicy extends Omit<PolicyExplained, 'rules'> {
  readonly rules: readonly CountedRule[];
}
type CountedRule = RuleExplained & { readonly decided: number };

function withCounts(explained: DirectionExplained, counts: RuleCounts): CountedDirection {
  const { direction } = explained;
  const policies = explained.policies.map((policy) => ({
    ...policy,
    rules: policy.rules.map((rule) => ({ ...rule, decided: counts(policy.name, direction, rule.number) })),
  }));
  const isolating = isolatingPolicies(explained).map(({ name }) => name);
  const isolationDecided = counts(isolationText(isolating), direction, 0);
  return { ...explained, policies, isolationDecided };
}

interface Explained extends Omit<PolicyExplanation, 'directions'> {
  readonly question: PolicyQuestion;
  readonly directions: readonly CountedDirection[];
}

function asJson({ question, verdict, directions, wouldDiffer }: Explained) {
  const { from, to, protocol, port } = question;
  return { from: from.text, to: to.text, protocol, port, verdict, directions, wouldDiffer };
}

function textOf({ question, verdict, directions, wouldDiffer }: Explained) {
  const { from, to, protocol, port } = question;
  const [name = protocol] = Object.entries(PROTOCOLS).find(([, number]) => number === protocol) ?? [];
  const lines = [`${from.text} -> ${to.text} ${String(name).toUpperCase()}${port === 0 ? '' : ` ${port}`}: ${verdict}`];
  for (const direction of directions) lines.push(...directionLines(direction));
  for (const line of wouldDiffer) lines.push(`Otherwise: ${line}.`);
  return lines.join('\n');
}

function directionLines(explained: CountedDirection): string[] {
  const { direction, subject, policies, allowed, decidedBy, isolated, isolationDecided } = explained;
  if (subject === undefined) return [`${direction}: not a pod, so no policy applies`];
  if (policies.length === 0) return [`${direction} of ${subject}: not isolated, no policy selects it`];
  const lines = [`${direction} of ${subject}: ${allowed ? 'allowed' : 'DENIED'}`];
  const deciding = new Set(decidedBy.map(({ policy, rule }) => `${policy.name} ${rule.number}`));
  for (const { name, tier, priority, rules } of policies) {
    const kind = tier === 'namespaced' ? '' : `ClusterNetworkPolicy, tier ${TIERS[tier]}, priority ${priority}: `;
    lines.push(`  ${kind}${name}${rules.length === 0 ? ': no rules, so it allows nothing' : ''}`);
    for (const rule of rules) lines.push(...ruleLines(rule, direction, deciding.has(`${name} ${rule.number}`)));
  }
  if (isolated) lines.push(`  no rule allows it (decided ${isolationDecided})`);
  return lines;
}

const TIERS = { admin: 'Admin', namespaced: 'NetworkPolicy', baseline: 'Baseline' } as const;
const VERBS = { accept: 'allows it', deny: 'DENIES it', pass: 'passes it to the next tier' } as const;

function ruleLines(
  { number, name, action, matches, peers, ports, decided }: CountedRule,
  direction: string,
  decides: boolean,
): string[] {
  const terms = (list: typeof peers) =>
    list.length === 0 ? 'all' : list.map((term) => `${term.text} (${term.matches ? 'yes' : 'no'})`).join(', ');
  const matched = decides || action === 'pass' ? VERBS[action] : 'matches, but another decided before';
  return [
    `    rule ${number}${name === '' ? '' : ` "${name}"`}: ${matches ? matched : 'does not match'} (decided ${decided})`,
    `      ${direction === 'egress' ? 'to' : 'from'}   ${terms(peers)}`,
    `      ports  ${terms(ports)}`,
  ];
}
