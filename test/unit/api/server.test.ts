import { request } from 'node:http';
import { connect } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../../src/api/client.ts';
import { ApiUnreachableError } from '../../../src/api/errors.ts';
import type { ConfigMap, KubeObject, Manifest, Status, WatchEvent } from '../../../src/api/types.ts';
import { startController } from '../../../src/controllers/controller.ts';
import { eventually, pod, refusal, service, sleep, withCluster } from '../controllers/test-cluster.ts';

const map = (
  name: string,
  data: Record<string, string> = {},
  labels: Record<string, string> = {},
): Manifest<ConfigMap> => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, labels },
  data,
});

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

function ask(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
  type = 'application/json',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': type };
    const req = request({ socketPath, method, path, headers }, async (res) => {
      let text = '';
      for await (const chunk of res) text += chunk;
      resolve({ status: res.statusCode ?? 0, headers: res.headers, body: text });
    });
    req.on('error', reject);
    req.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
  });
}

test(
  'create, get, list, update, delete',
  withCluster(async ({ client }) => {
    const made = await client.create(map('a', { k: '1' }));
    assert.match(made.metadata.uid, /^[0-9a-f-]{36}$/);
    assert.match(made.metadata.creationTimestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.equal(await client.get('ConfigMap', 'a', 'default'), made);
    const put = await client.update({ ...made, data: { k: '2' } });
    assert.is(put.metadata.generation, 2);
    assert.is(put.metadata.uid, made.metadata.uid);
    assert.is(
      (await client.update(put)).metadata.resourceVersion,
      put.metadata.resourceVersion,
      'no change, no version',
    );
    const list = await client.list('ConfigMap', { namespace: 'default' });
    assert.is(list.kind, 'ConfigMapList');
    assert.equal(list.items, [put]);
    await client.delete('ConfigMap', 'a');
    assert.is(await client.find('ConfigMap', 'a', 'default'), undefined);
  }),
);

test(
  'refusals are Status objects with reason, code and causes',
  withCluster(async ({ client, socketPath }) => {
    const made = await client.create(map('a'));
    const rows: [Promise<unknown>, number, string, RegExp][] = [
      [client.get('ConfigMap', 'b', 'default'), 404, 'NotFound', /^configmaps "b" not found$/],
      [client.get('Deployment', 'b', 'default'), 404, 'NotFound', /^deployments\.apps "b" not found$/],
      [client.create(map('a')), 409, 'AlreadyExists', /^configmaps "a" already exists$/],
      [client.create(map('B')), 422, 'Invalid', /^ConfigMap "B" is invalid: metadata\.name: expected a name/],
      [client.create({ ...map('c'), metadata: {} }), 422, 'Invalid', /name or generateName is required/],
      [client.list('Pod', { fieldSelector: 'spec.foo=1' }), 400, 'BadRequest', /not a known field selector/],
    ];
    for (const [call, code, reason, message] of rows) {
      const error = await refusal(call);
      assert.is(error.code, code);
      assert.is(error.reason, reason);
      assert.match(error.message, message);
      assert.is(error.status.kind, 'Status');
    }
    await client.update({ ...made, data: { k: '1' } });
    const lost = await refusal(client.update({ ...made, data: { k: '2' } }));
    assert.is(lost.reason, 'Conflict');
    assert.match(lost.message, 'the object has been modified');
    const bad = await refusal(
      client.create(pod('p', {}, { containers: [{ name: 'c', image: 'x', ports: [{ containerPort: 0 }] }] })),
    );
    assert.equal(bad.status.details?.causes, [
      {
        reason: 'FieldValueInvalid',
        message: 'expected integer 1–65535, got 0',
        field: 'spec.containers[0].ports[0].containerPort',
      },
    ]);
    const raw: [string, string, unknown, string, number][] = [
      ['GET', '/api/v1/foos', undefined, 'application/json', 404],
      ['GET', '/nothing', undefined, 'application/json', 404],
      ['POST', '/api/v1/namespaces/default/configmaps', '{', 'application/json', 400],
      ['POST', '/api/v1/namespaces/default/configmaps', '{}', 'text/plain', 415],
      ['PATCH', '/api/v1/namespaces/default/configmaps/a', '{}', 'application/json', 415],
      [
        'PATCH',
        '/api/v1/namespaces/default/configmaps/a',
        '[{"op":"remove","path":"/x"}]',
        'application/json-patch+json',
        400,
      ],
      ['PUT', '/api/v1/namespaces/default/configmaps', '{}', 'application/json', 405],
      ['POST', '/api/v1/pods', '{}', 'application/json', 405],
      ['GET', '/api/v1/namespaces/default/configmaps/a/status', undefined, 'application/json', 404],
      ['GET', '/api/v1/namespaces/%ZZ', undefined, 'application/json', 404],
      ['GET', '/api/v1/configmaps?watch=true&resourceVersion=x', undefined, 'application/json', 400],
      ['POST', '/api/v1/namespaces/default/configmaps', 'x'.repeat(3_200_000), 'application/json', 413],
    ];
    for (const [method, path, body, type, code] of raw) {
      const answer = await ask(socketPath, method, path, body, type).catch(() => undefined);
      if (answer === undefined) assert.is(code, 413, 'the server may hang up on a body that is too long');
      else {
        assert.is(answer.status, code, `${method} ${path}`);
        assert.is((JSON.parse(answer.body) as Status).kind, 'Status');
      }
    }
  }),
);

test(
  'unsupported fields warn, unknown ones are refused, warned of or dropped as asked',
  withCluster(async ({ client }) => {
    const warnings: string[] = [];
    const odd = pod('a', {}, { affinity: {}, containers: [{ name: 'c', image: 'x', securityContext: {} }] } as object);
    await client.create(odd, { onWarning: (text) => warnings.push(text) });
    assert.equal(warnings, [
      'spec.containers[0].securityContext: this field is not supported here and has no effect',
      'spec.affinity: this field is not supported here and has no effect',
    ]);
    const unknown = (name: string) =>
      ({ ...map(name), foo: 1, metadata: { name, bar: 2 } }) as unknown as Manifest<ConfigMap>;
    assert.match((await refusal(client.create(unknown('b')))).message, 'unknown field');
    warnings.length = 0;
    const warned = await client.create(unknown('b'), {
      fieldValidation: 'Warn',
      onWarning: (text) => warnings.push(text),
    });
    assert.is(warnings.length, 2);
    assert.not('foo' in warned || 'bar' in warned.metadata);
    assert.not('foo' in (await client.create(unknown('c'), { fieldValidation: 'Ignore' })));
  }),
);

test(
  'status is written apart from the object',
  withCluster(async ({ client }) => {
    const made = await client.create(service('s'));
    const both = {
      ...made,
      spec: { ...made.spec, selector: { a: 'b' } },
      status: { conditions: [{ type: 'X', status: 'True' as const }] },
    };
    assert.equal((await client.update(both)).status, { loadBalancer: {} });
    const written = await client.patchStatus('Service', 's', 'default', both.status);
    assert.is(written.status?.conditions?.[0]?.type, 'X');
    assert.equal(written.spec.selector, { a: 'b' });
    const sneaky = { spec: { selector: null }, status: {} };
    assert.equal((await client.patch('Service', 's', sneaky, { subresource: 'status' })).spec.selector, { a: 'b' });
  }),
);

test(
  'patches of all kinds, and apply creates or merges',
  withCluster(async ({ client, socketPath }) => {
    await client.create(map('a', { x: '1', y: '2' }));
    assert.equal((await client.patch('ConfigMap', 'a', { data: { x: null } })).data, { y: '2' });
    const json = [{ op: 'add', path: '/data/z', value: '3' }];
    assert.equal((await client.patch('ConfigMap', 'a', json, { type: 'json' })).data, { y: '2', z: '3' });
    const applied = map('fresh', { k: 'v' });
    await client.patch('ConfigMap', 'fresh', applied, { type: 'apply' });
    const yaml = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: fresh\ndata:\n  more: "1"\n';
    const path = '/api/v1/namespaces/default/configmaps/fresh?fieldManager=kubectl';
    const answer = await ask(socketPath, 'PATCH', path, yaml, 'application/apply-patch+yaml');
    assert.equal((JSON.parse(answer.body) as ConfigMap).data, { k: 'v', more: '1' });
  }),
);

test(
  "generateName, secrets' stringData, labels",
  withCluster(async ({ client }) => {
    const named = await client.create({ ...map(''), metadata: { generateName: 'web-' } });
    assert.match(named.metadata.name, /^web-[a-z0-9]{5}$/);
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, stringData: { a: 'ü' } };
    const stored = await client.create(secret as unknown as Manifest<KubeObject>);
    assert.equal((stored as unknown as ConfigMap).data, { a: 'w7w=' });
    await client.create(map('l', {}, { app: 'web', tier: 'x' }));
    const found = await client.list('ConfigMap', { labelSelector: 'app in (web),tier!=y' });
    assert.equal(
      found.items.map((m) => m.metadata.name),
      ['l'],
    );
  }),
);

test(
  'a watch sends what happens after its version, selected and in order',
  withCluster(async ({ client }) => {
    const start = (await client.list('ConfigMap')).metadata.resourceVersion;
    const events: string[] = [];
    const stop = new AbortController();
    const note = (e: WatchEvent<ConfigMap>) => events.push(`${e.type} ${e.object.metadata.name}`);
    const done = client.watch(
      'ConfigMap',
      { resourceVersion: start, labelSelector: 'app=web', signal: stop.signal },
      note,
    );
    const a = await client.create(map('a', {}, { app: 'web' }));
    await client.create(map('b'));
    await client.update({ ...a, data: { k: '1' } });
    await client.patch('ConfigMap', 'a', { metadata: { labels: { app: 'other' } } });
    await client.patch('ConfigMap', 'b', { metadata: { labels: { app: 'web' } } });
    await client.delete('ConfigMap', 'a');
    await client.delete('ConfigMap', 'b');
    await eventually(() => events.length >= 5);
    await sleep(20);
    assert.equal(events, ['ADDED a', 'MODIFIED a', 'DELETED a', 'ADDED b', 'DELETED b']);
    stop.abort();
    await done;
  }),
);

test(
  'a watch without a version begins with what is there; bookmarks and time limits',
  withCluster(async ({ client }) => {
    await client.create(map('a'));
    const events: string[] = [];
    const options = { namespace: 'default', timeoutSeconds: 1, allowWatchBookmarks: true };
    const started = Date.now();
    await client.watch('ConfigMap', options, (e) => events.push(`${e.type} ${e.object.metadata.name ?? ''}`));
    assert.ok(Date.now() - started < 1900);
    assert.equal(events, ['ADDED a', 'BOOKMARK ']);
  }),
);

test(
  'a version too old or from the future is 410',
  withCluster(async ({ client }) => {
    for (let i = 0; i < 6000; i++)
      await client.patchStatus('Namespace', 'default', undefined, {
        conditions: [{ type: `T${i % 2}`, status: 'True' }],
      });
    const old = await refusal(client.watch('Namespace', { resourceVersion: '5' }, () => {}));
    assert.is(old.code, 410);
    assert.is(old.reason, 'Expired');
    assert.is((await refusal(client.watch('Namespace', { resourceVersion: '99999999' }, () => {}))).code, 410);
  }),
);

test(
  'a watcher that does not read costs no memory and does not hold up the others',
  withCluster(async ({ client, socketPath }) => {
    const lazy = connect(socketPath);
    lazy.pause();
    lazy.write('GET /api/v1/configmaps?watch=true HTTP/1.1\r\nhost: x\r\n\r\n');
    await sleep(20);
    const before = process.memoryUsage().external;
    const data = { k: 'x'.repeat(100_000) };
    const made = await client.create(map('big', data));
    let seen = 0;
    const stop = new AbortController();
    const done = client.watch(
      'ConfigMap',
      { resourceVersion: made.metadata.resourceVersion, signal: stop.signal },
      () => {
        seen++;
      },
    );
    for (let i = 0; i < 100; i++) await client.patch('ConfigMap', 'big', { data: { i: String(i) } });
    await eventually(() => seen === 100);
    assert.ok(process.memoryUsage().external - before < 30_000_000);
    stop.abort();
    await done;
    lazy.destroy();
  }),
);

test(
  'long lists arrive whole',
  withCluster(async ({ client }) => {
    for (let i = 0; i < 501; i++) await client.create(map(`m${i}`));
    const { items } = await client.list('ConfigMap', { namespace: 'default' });
    assert.is(new Set(items.map((m) => m.metadata.name)).size, 501);
  }),
);

test(
  'discovery: what kubectl asks before anything else',
  withCluster(async ({ client, socketPath }) => {
    assert.equal((await client.raw<{ versions: string[] }>('/api')).versions, ['v1']);
    const groups = (await client.raw<{ groups: { name: string }[] }>('/apis')).groups.map((g) => g.name);
    assert.equal(groups.sort(), ['apps', 'discovery.k8s.io']);
    const core = await client.raw<{ resources: { name: string; kind: string }[] }>('/api/v1');
    assert.ok(core.resources.some((r) => r.name === 'pods/status'));
    const slices = await client.raw<{ resources: { name: string }[] }>('/apis/discovery.k8s.io/v1');
    assert.equal(
      slices.resources.map((r) => r.name),
      ['endpointslices'],
    );
    assert.is((await client.raw<{ minor: string }>('/version')).minor, '32');
    assert.is((await ask(socketPath, 'GET', '/healthz')).body, 'ok');
    assert.is((await ask(socketPath, 'GET', '/openapi/v2')).status, 404);
  }),
);

test(
  'also over TCP when asked; a second controller on the socket is refused',
  withCluster(async ({ directory, socketPath }) => {
    try {
      await startController({ stateDir: directory, socketPath });
      assert.unreachable();
    } catch (error) {
      assert.is((error as NodeJS.ErrnoException).code, 'EADDRINUSE');
    }
    const other = await startController({
      stateDir: `${directory}/other`,
      socketPath: `${directory}/other.sock`,
      tcp: { host: '127.0.0.1', port: 0 },
    });
    const client = new ApiClient(`http://127.0.0.1:${other.tcpPort}`);
    assert.is((await client.list('Namespace')).items.length, 3);
    client.close();
    await other.close();
  }),
);

test('nobody there: an error of its own that says where', async () => {
  const client = new ApiClient('/nonexistent/api.sock');
  try {
    await client.list('Pod');
    assert.unreachable();
  } catch (error) {
    assert.instance(error, ApiUnreachableError);
    assert.match((error as Error).message, '/nonexistent/api.sock');
  }
});

test.run();
