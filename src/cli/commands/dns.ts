/** `dataplane dns query`: the queries of a pod's resolver for a name, and the object behind each answer. */
import { readFileSync } from 'node:fs';
import type { Place } from '../../cluster/network-namespaces.ts';
import { STATE_DIR } from '../../cluster/state.ts';
import type { Attempt, ResolverSettings } from '../../dns/look-up.ts';
import { type Args, type Command, needOperand, operandsAtMost } from '../args/args.ts';
import { needNetworkNamespace, readPlace } from '../args/place.ts';
import { failed, needRoot, SilentExit, usageError } from '../errors.ts';
import { formatOf, print } from '../output/output.ts';
import { NAMESPACE_OPTION, namespaceOf, withClient } from '../with-client.ts';

const TYPES = ['A', 'AAAA', 'SRV', 'PTR', 'TXT', 'CNAME', 'NS', 'SOA'] as const;
const TIMEOUT_MS = 3000;
const DNS_PORT = 53;

export const command: Command = {
  usage: ['dns query NAME [--from pod/POD|node/NODE] [--type TYPE] [-n NAMESPACE] [-o json]'],
  about: `Look a name up as a pod does: with its /etc/resolv.conf, through its network namespace, one candidate of the search list
after the other, and show every query with its response and the Service or pod that each address belongs to. Exits with 1 if the name
has no answer. Queries are sent over TCP.`,
  options: {
    from: { value: 'PLACE', help: 'pod/POD or node/NODE (default: the first node, without a search list)' },
    type: { short: 't', value: 'TYPE', help: `${TYPES.slice(0, -1).join(', ')} or ${TYPES.at(-1)} (default: A)` },
    ...NAMESPACE_OPTION,
    output: { short: 'o', value: 'FORMAT', help: 'json' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: [
    'dataplane dns query web --from pod/client',
    'dataplane dns query _http._tcp.web.default.svc.cluster.local --type SRV',
  ],
  run,
};

async function run(args: Args): Promise<void> {
  const verb = needOperand('dns', args, 0, 'what to do');
  if (verb !== 'query')
    throw usageError(`dataplane dns: unknown operation "${verb}"`, 'expected `dataplane dns query NAME`');
  const name = needOperand('dns query', args, 1, 'NAME');
  operandsAtMost('dns query', args, 2);
  const wantedType = (args.text('type') ?? 'A').toUpperCase();
  const type = TYPES.find((known) => known === wantedType);
  if (type === undefined) throw usageError(`--type ${args.text('type')}: expected ${TYPES.join(', ')}`);
  const json = formatOf(args.text('output'), ['json']) === 'json';
  const from = args.text('from');
  const given = from === undefined ? undefined : readPlace(from, '--from', namespaceOf(args));
  if (given?.kind === 'outside') throw usageError('--from outside: there is no cluster DNS outside the cluster');
  needRoot('dns query');
  const place = given ?? (await firstNode());
  const path = needNetworkNamespace(place);
  const [{ lookUp }, { connectInNamespace }] = await Promise.all([
    import('../../dns/look-up.ts'),
    import('../../linux/connect.ts'),
  ]);
  const settings = await settingsOf(place);
  const connect = (server: string) => connectInNamespace(path, server, DNS_PORT);
  const attempts = await lookUp({ name, type, settings, connect, timeoutMs: TIMEOUT_MS });
  const owners = await ownersOf(attempts);
  if (json) print(JSON.stringify({ name, type, ...settings, attempts, owners: Object.fromEntries(owners) }, null, 2));
  else print(await explain(settings, attempts, owners, type));
  if ((attempts.at(-1)?.answers.length ?? 0) === 0) throw new SilentExit(1);
}

async function firstNode(): Promise<Place> {
  const { items } = await withClient((client) => client.list('Node'));
  if (items[0] === undefined) throw failed('the cluster has no node');
  return { kind: 'node', name: items[0].metadata.name };
}

async function settingsOf(place: Place): Promise<ResolverSettings> {
  const { parseResolvConf } = await import('../../dns/look-up.ts');
  if (place.kind === 'pod') {
    const { resolvConfPath } = await import('../../runtime/container/resolv-conf.ts');
    const path = resolvConfPath(STATE_DIR, place.namespace, place.name);
    if (path === undefined) throw failed(`pod ${place.name} has no container that has been started`);
    return parseResolvConf(readFileSync(path, 'utf8'));
  }
  const service = await withClient((client) => client.get('Service', 'kube-dns', 'kube-system'));
  return { servers: [service.spec.clusterIP ?? ''], search: [], ndots: 1 };
}

/** Address → the object that has it. */
async function ownersOf(attempts: readonly Attempt[]): Promise<Map<string, string>> {
  const addresses = new Set(
    attempts.flatMap(({ answers }) => answers.flatMap((answer) => (answer.type === 'A' ? [answer.data] : []))),
  );
  const owners = new Map<string, string>();
  if (addresses.size === 0) return owners;
  const [services, pods] = await withClient((client) => Promise.all([client.list('Service'), client.list('Pod')]));
  for (const { metadata, spec } of services.items) {
    for (const address of spec.clusterIPs ?? [])
      if (addresses.has(address)) owners.set(address, `service ${metadata.namespace}/${metadata.name}`);
  }
  for (const { metadata, status, spec } of pods.items) {
    if (status?.podIP && addresses.has(status.podIP))
      owners.set(status.podIP, `pod ${metadata.namespace}/${metadata.name} on ${spec.nodeName}`);
  }
  return owners;
}

async function explain(
  { servers, search, ndots }: ResolverSettings,
  attempts: readonly Attempt[],
  owners: ReadonlyMap<string, string>,
  type: string,
): Promise<string> {
  const { recordText } = await import('../../dns/look-up.ts');
  const lines = [
    `nameserver ${servers.join(', ') || 'none'}; ${search.length > 0 ? `search ${search.join(' ')}, ndots ${ndots}` : 'no search list'}`,
  ];
  for (const [i, { name, server, outcome, answers, milliseconds }] of attempts.entries()) {
    const result = outcome === 'NOERROR' && answers.length === 0 ? `NODATA (no ${type} record)` : outcome;
    const at = servers.length > 1 ? ` @${server}` : '';
    lines.push(`${i + 1}. ${name} ${type}${at}: ${result}, ${milliseconds.toFixed(1)} ms`);
    for (const answer of answers) {
      const owner = answer.type === 'A' ? owners.get(answer.data) : undefined;
      lines.push(`   ${recordText(answer)}${owner === undefined ? '' : `    ${owner}`}`);
    }
  }
  if (attempts.length === 0) lines.push('no query was sent: there is no name server');
  return lines.join('\n');
}
