/**
 * Requests to the API, objects and patches of all types, most of them invalid: every request gets a response, an error is a
 * Status with a message, none is a 500, and the server still works afterwards.
 */
import { request } from 'node:http';
import type { Status } from '../../../../src/api/types/objects.ts';
import { pod, service, type TestCluster, withCluster } from '../../../unit/controllers/test-cluster.ts';
import { pick, type Random } from '../../seeded-random.ts';
import { jsonPatchOf, spoil } from '../json.ts';
import type { FuzzTarget } from '../target.ts';

const PATCHES = ['merge-patch+json', 'json-patch+json', 'strategic-merge-patch+json', 'apply-patch+yaml'];
const PATHS = [
  ...['pods', 'services', 'configmaps', 'endpoints', 'events', 'secrets'].map(
    (kind) => `/api/v1/namespaces/default/${kind}`,
  ),
  '/api/v1/nodes',
  '/api/v1/namespaces',
  '/apis/apps/v1/namespaces/default/deployments',
  '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices',
  '/apis/networking.k8s.io/v1/namespaces/default/networkpolicies',
  '/api',
  '/apis',
  '/%00/..',
  '//',
  '/api/v1/namespaces/%ff%fe/pods',
];
const QUERIES = [
  '',
  '?labelSelector=a%3Db',
  '?labelSelector=a+in+(b',
  '?labelSelector=!!',
  '?fieldSelector=spec.nodeName%3Dn1,x',
  '?resourceVersion=-1',
  '?limit=x&continue=y',
  '?dryRun=All',
  '?dryRun=Some',
  '?fieldValidation=Warn',
  '?fieldValidation=%F0',
  '?gracePeriodSeconds=-5',
];
const OBJECTS: readonly unknown[] = [
  pod('p'),
  service('s'),
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'c', labels: { a: 'b' } }, data: { k: 'v' } },
  { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n7' }, spec: { podCIDR: '10.244.7.0/24' } },
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'ns' } },
  {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'e', labels: { 'kubernetes.io/service-name': 's' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['10.244.1.9'], conditions: { ready: true } }],
    ports: [{ port: 80, protocol: 'TCP' }],
  },
  {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'np' },
    spec: { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8' } }], ports: [{ port: 80 }] }] },
  },
];

/** How often each status was seen: a generator whose requests all fail in one way tests nothing. */
export const statuses: Map<number, number> = new Map();

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly type: string;
  readonly body: string | undefined;
}

function generate(random: Random): Asked {
  const method = pick(random, ['POST', 'POST', 'POST', 'PUT', 'PATCH', 'PATCH', 'DELETE', 'GET', 'OPTIONS']);
  const name = ['', '/p', '/s', '/c', '/n1', '/p/status', '/%20'][random.below(method === 'POST' ? 1 : 7)];
  const path = pick(random, PATHS) + name + pick(random, QUERIES);
  const patch = pick(random, PATCHES);
  const type = `application/${method === 'PATCH' && random.below(8) !== 0 ? patch : 'json'}`;
  let object = pick(random, OBJECTS);
  for (let n = random.below(3); n > 0; n--) object = spoil(object, random);
  if (type.endsWith('json-patch+json') && random.below(3) !== 0) object = jsonPatchOf(random);
  let body: string | undefined = JSON.stringify(object);
  if (random.below(20) === 0) body = body?.slice(0, random.below(body.length));
  return { method, path, type, body: method === 'GET' || method === 'OPTIONS' ? undefined : body };
}

function ask(socketPath: string, { method, path, type, body }: Asked): Promise<[status: number, text: string]> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': type, 'content-length': Buffer.byteLength(body ?? '') };
    const req = request({ socketPath, method, path, headers, timeout: 5000 }, async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve([response.statusCode ?? 0, text]);
    });
    req.on('timeout', () => req.destroy(new Error('no answer within 5 s')));
    req.on('error', reject);
    req.end(body);
  });
}

function check({ path }: Asked, status: number, text: string): void {
  if (status < 200 || status >= 500) throw new Error(`status ${status} ${text}`);
  if (status < 400) {
    if (!/^\/(api|apis)$/.test(path)) JSON.parse(text);
    return;
  }
  const { kind, message } = JSON.parse(text) as Status;
  if (kind !== 'Status' || !message) throw new Error(`status ${status} without a message: ${text}`);
}

async function requests(cluster: TestCluster, random: Random): Promise<number> {
  const count = 1 + random.below(100);
  for (let index = 0; index < count; index++) {
    const asked = generate(random);
    try {
      const [status, text] = await ask(cluster.socketPath, asked);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      check(asked, status, text);
    } catch (error) {
      const { method, path, type, body } = asked;
      throw new Error(`${method} ${path} (${type})\n${body}\n${(error as Error).message}`);
    }
  }
  if ((await cluster.client.list('Node')).kind !== 'NodeList') throw new Error('the server lists no nodes');
  return count;
}

export const target: FuzzTarget = {
  name: 'api',
  unit: 'requests',
  async run(random: Random): Promise<number> {
    let count = 0;
    await withCluster(async (cluster) => {
      count = await requests(cluster, random);
    })();
    return count;
  },
};
