/** Fuzzes the API's input: invalid objects, patches, paths and queries. Every request gets a response, none a 500. */
import { request } from 'node:http';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Status } from '../../src/api/types/objects.ts';
import { type Random, seededRandom } from '../lib/seeded-random.ts';
import { pod, service, withCluster } from '../unit/controllers/test-cluster.ts';

const SEED = Number(process.env.FUZZ_SEED ?? 20240611);
const REQUESTS = Number(process.env.FUZZ_REQUESTS ?? 10_000);

type Json = unknown;

const ODD: readonly Json[] = [
  null,
  true,
  -1,
  0,
  1.5,
  1e21,
  65536,
  '',
  'x',
  '..',
  '10.244.1.300',
  'a'.repeat(300),
  '\u0000',
  [],
  [null],
  [[]],
  {},
  { name: 7 },
  { __proto__: null, constructor: 1 },
];

/** The value with something in it replaced, removed, duplicated or moved. */
function spoil(value: Json, random: Random): Json {
  const odd = (): Json => ODD[random.below(ODD.length)];
  if (random.below(12) === 0 || typeof value !== 'object' || value === null) return odd();
  if (Array.isArray(value)) {
    const copy = [...value];
    const at = random.below(copy.length + 1);
    if (at === copy.length || random.below(4) === 0) copy.push(random.below(2) === 0 ? odd() : copy[0]);
    else copy[at] = spoil(copy[at], random);
    return copy;
  }
  const copy: Record<string, Json> = { ...(value as Record<string, Json>) };
  const keys = Object.keys(copy);
  const key = keys[random.below(keys.length + 1)] ?? ['spec', 'ports', '__proto__', 'toString', ''][random.below(5)]!;
  if (random.below(8) === 0) delete copy[key];
  else
    Object.defineProperty(copy, key, {
      value: spoil(copy[key], random),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  return copy;
}

const PATCHES = ['merge-patch+json', 'json-patch+json', 'strategic-merge-patch+json', 'apply-patch+yaml'];
const PLACES = ['pods', 'services', 'configmaps', 'endpoints', 'events', 'secrets'].map(
  (kind) => `/api/v1/namespaces/default/${kind}`,
);
const PATHS = [
  ...PLACES,
  '/api/v1/nodes',
  '/api/v1/namespaces',
  '/apis/apps/v1/namespaces/default/deployments',
  '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices',
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

function jsonPatchOf(random: Random): Json {
  const paths = [
    '/spec',
    '/spec/ports/0',
    '/spec/ports/-',
    '/metadata/labels/a~1b',
    '',
    '/',
    '/x/y',
    '/__proto__/x',
    7,
  ];
  const operations = ['add', 'remove', 'replace', 'move', 'copy', 'test', 'jump', null];
  return Array.from({ length: random.below(4) }, () => ({
    op: operations[random.below(operations.length)],
    path: paths[random.below(paths.length)],
    from: paths[random.below(paths.length)],
    value: ODD[random.below(ODD.length)],
  }));
}

test(
  `${REQUESTS} malformed requests`,
  withCluster(async ({ client }) => {
    const random = seededRandom(SEED);
    const objects: Json[] = [
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
    ];
    const ask = (method: string, path: string, body: string | undefined, type: string): Promise<[number, string]> =>
      new Promise((resolve, reject) => {
        const headers = { 'content-type': type, 'content-length': Buffer.byteLength(body ?? '') };
        const req = request({ socketPath: client.target, method, path, headers, timeout: 5000 }, async (response) => {
          let text = '';
          for await (const chunk of response) text += chunk;
          resolve([response.statusCode ?? 0, text]);
        });
        req.on('timeout', () => req.destroy(new Error('no answer within 5 s')));
        req.on('error', reject);
        req.end(body);
      });
    const statuses = new Map<number, number>();
    for (let index = 0; index < REQUESTS; index++) {
      const method = ['POST', 'POST', 'POST', 'PUT', 'PATCH', 'PATCH', 'DELETE', 'GET', 'OPTIONS'][random.below(9)]!;
      const name = ['', '/p', '/s', '/c', '/n1', '/p/status', '/%20'][random.below(method === 'POST' ? 1 : 7)];
      const path = PATHS[random.below(PATHS.length)]! + name + QUERIES[random.below(QUERIES.length)];
      const patch = PATCHES[random.below(PATCHES.length)]!;
      const type = `application/${method === 'PATCH' && random.below(8) !== 0 ? patch : 'json'}`;
      let object = objects[random.below(objects.length)];
      for (let n = random.below(3); n > 0; n--) object = spoil(object, random);
      if (type.endsWith('json-patch+json') && random.below(3) !== 0) object = jsonPatchOf(random);
      let body: string | undefined = JSON.stringify(object);
      if (random.below(20) === 0) body = body?.slice(0, random.below(body.length));
      if (method === 'GET' || method === 'OPTIONS') body = undefined;
      const request = `seed ${SEED}, request ${index}: ${method} ${path} (${type})\n${body}`;
      const [status, text] = await ask(method, path, body, type).catch((error: Error) => {
        throw new Error(`${request}\n${error.message}`);
      });
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      assert.ok(status >= 200 && status < 500, `${request}\n${status} ${text}`);
      if (status >= 400) {
        assert.ok(text.startsWith('{'), `${request}\n${status} ${text}`);
        const answer = JSON.parse(text) as Status;
        assert.is(answer.kind, 'Status', request);
        assert.ok((answer.message ?? '').length > 0, request);
      } else if (!/^\/(api|apis)$/.test(path)) JSON.parse(text);
    }
    // The server still works, and did not only reject requests.
    assert.is((await client.list('Node')).kind, 'NodeList');
    for (const status of [200, 201, 400, 404, 405, 422])
      assert.ok(statuses.has(status), `no ${status}: ${[...statuses]}`);
  }),
);

test.run();
