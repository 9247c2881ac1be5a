/** `dataplane token`: bootstrap tokens, with which other machines join the cluster. */
import type { ApiClient } from '../../api/client/client.ts';
import type { ConfigMap, Secret } from '../../api/types/objects.ts';
import { type Args, type Command, needOperand, operandsAtMost, readVerb } from '../args/args.ts';
import { seconds } from '../args/values.ts';
import { failed, needRoot, usageError } from '../errors.ts';
import { note, print } from '../output/output.ts';
import { tableText } from '../output/table.ts';
import { withClient } from '../with-client.ts';

/** As kubeadm's. */
const DEFAULT_SECONDS = 24 * 3600;

export const command: Command = {
  usage: ['token create [--ttl DURATION] [--description TEXT]', 'token list', 'token delete ID…'],
  about: `\`create\` makes a token and prints the command by which another machine joins the cluster as a node (\`dataplane join\`).
Whoever has the token can add nodes until it expires; \`delete\` ends that at once. Tokens are Secrets of kube-system.
Needs a controller that other machines reach: that of \`dataplane up\`, or \`dataplane controller --listen HOST:PORT\`.`,
  options: {
    ttl: { value: 'DURATION', help: 'seconds until the token expires, or a time such as 30m or 2h (default 24h)' },
    description: { value: 'TEXT', help: 'what the token is for' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: ['dataplane token create --ttl 1h', 'dataplane token delete 3kq7mz'],
  run,
};

const VERBS = ['create', 'list', 'delete'] as const;

async function run(args: Args): Promise<void> {
  const verb = readVerb('token', needOperand('token', args, 0, 'what to do'), VERBS);
  needRoot('token');
  if (verb === 'delete') needOperand('token delete', args, 1, 'the ID of a token');
  else operandsAtMost(`token ${verb}`, args, 1);
  const misplaced = verb === 'create' ? undefined : ['ttl', 'description'].find((name) => args.has(name));
  if (misplaced !== undefined) throw usageError(`dataplane token ${verb}: --${misplaced} is for \`token create\``);
  const ttl = args.value('ttl', seconds) ?? DEFAULT_SECONDS;
  const work = {
    create: (client: ApiClient) => create(client, args, ttl),
    list,
    delete: remove(args.operands.slice(1)),
  };
  await withClient(work[verb]);
}

async function create(client: ApiClient, args: Args, ttl: number): Promise<void> {
  const { CLUSTER_INFO } = await import('../../api/access/authorization.ts');
  const { newToken, TOKEN_NAMESPACE, TOKEN_TYPE, tokenSecretName } = await import(
    '../../api/access/bootstrap-tokens.ts'
  );
  const info = await client.find('ConfigMap', CLUSTER_INFO.name, CLUSTER_INFO.namespace);
  if (info === undefined) {
    throw failed('other machines do not reach this cluster', 'start `dataplane controller --listen HOST:PORT`');
  }
  const { id, secret } = newToken();
  const expiration = new Date(Date.now() + ttl * 1000).toISOString().replace(/\.\d+Z$/, 'Z');
  const data = {
    'token-id': id,
    'token-secret': secret,
    expiration,
    'usage-bootstrap-authentication': 'true',
    ...(args.has('description') && { description: args.text('description') as string }),
  };
  await client.create<Secret>({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: tokenSecretName(id), namespace: TOKEN_NAMESPACE },
    type: TOKEN_TYPE,
    data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString('base64')])),
  });
  const { address, hash } = await whereAndWho(info);
  note(`valid until ${expiration}; on the machine that joins, as root:`);
  print(`dataplane join ${address} --token ${id}.${secret} --discovery-token-ca-cert-hash ${hash}`);
}

/** The API's address for other machines, and the hash of the authority's key. */
async function whereAndWho({ data = {} }: ConfigMap): Promise<{ address: string; hash: string }> {
  const { CLUSTER_INFO } = await import('../../api/access/authorization.ts');
  const { authorityHash, readClusterInfo } = await import('../../cluster/join/discovery.ts');
  const { server, authorities } = readClusterInfo(data[CLUSTER_INFO.key] ?? '');
  return { address: server.replace('https://', ''), hash: authorityHash(authorities[0] as string) };
}

async function list(client: ApiClient): Promise<void> {
  const { isTokenSecret, secretText, expiryOf, TOKEN_NAMESPACE } = await import('../../api/access/bootstrap-tokens.ts');
  const { printAge } = await import('../../api/tables/age.ts');
  const { items } = await client.list('Secret', { namespace: TOKEN_NAMESPACE });
  const rows = items.filter(isTokenSecret).map((secret) => {
    const left = expiryOf(secret) - Date.now();
    const ttl = left === Number.POSITIVE_INFINITY ? '<forever>' : left > 0 ? printAge(left) : '<expired>';
    const text = (key: string) => secretText(secret, key) ?? '';
    return [text('token-id'), ttl, text('expiration'), text('description')];
  });
  if (rows.length === 0) note('no tokens');
  else print(tableText([['ID', 'TTL', 'EXPIRES', 'DESCRIPTION'], ...rows]));
}

function remove(ids: readonly string[]) {
  return async (client: ApiClient): Promise<void> => {
    const { parseTokenId, TOKEN_NAMESPACE, tokenSecretName } = await import('../../api/access/bootstrap-tokens.ts');
    const wrong = ids.find((text) => parseTokenId(text) === undefined);
    if (wrong !== undefined) throw usageError(`dataplane token delete ${wrong}: expected an ID of \`token list\``);
    for (const id of ids.map((text) => parseTokenId(text) as string)) {
      await client.delete('Secret', tokenSecretName(id), { namespace: TOKEN_NAMESPACE });
      print(`token ${id} deleted`);
    }
  };
}
