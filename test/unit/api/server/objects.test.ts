/** Objects over the API: create, read, change, refuse, delete. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ConfigMap, KubeObject, Manifest, Service, Status } from '../../../../src/api/types/objects.ts';
import { configMap, pod, refusal, request, service, withCluster } from '../../controllers/test-cluster.ts';

test(
  'create, get, list, update, delete',
  withCluster(async ({ client }) => {
    const made = await client.create(configMap('a', { k: '1' }));
    assert.match(made.metadata.uid, /^[0-9a-f-]{36}$/);
    assert.match(made.metadata.creationTimestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.equal(await client.get('ConfigMap', 'a', 'default'), made);
    const put = await client.update({ ...made, data: { k: '2' } });
    assert.is(put.metadata.generation, undefined, 'ConfigMaps have no generation');
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
  'an object whose kind is none is refused with what it was, whatever members it has',
  withCluster(async ({ socketPath }) => {
    for (const kind of [{ toString: 0 }, 7, [], { toString: {} }]) {
      const object = { ...configMap('a'), kind };
      const { status, body } = await request(socketPath, 'POST', '/api/v1/namespaces/default/configmaps', object);
      assert.is(status, 400);
      assert.is((JSON.parse(body) as Status).message, `expected v1 ConfigMap, got v1 ${JSON.stringify(kind)}`);
    }
  }),
);

test(
  'errors are Status objects with reason, code and causes',
  withCluster(async ({ client, socketPath }) => {
    const made = await client.create(configMap('a'));
    const rows: [Promise<unknown>, number, string, RegExp][] = [
      [client.get('ConfigMap', 'b', 'default'), 404, 'NotFound', /^configmaps "b" not found$/],
      [client.get('Deployment', 'b', 'default'), 404, 'NotFound', /^deployments\.apps "b" not found$/],
      [client.create(configMap('a')), 409, 'AlreadyExists', /^configmaps "a" already exists$/],
      [client.create(configMap('B')), 422, 'Invalid', /^ConfigMap "B" is invalid: metadata\.name: expected a name/],
      [client.create({ ...configMap('c'), metadata: {} }), 422, 'Invalid', /name or generateName is required/],
      [client.list('Pod', { fieldSelector: 'spec.foo=1' }), 400, 'BadRequest', /field label not supported: spec\.foo/],
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
        422,
      ],
      ['PUT', '/api/v1/namespaces/default/configmaps', '{}', 'application/json', 405],
      ['POST', '/api/v1/pods', '{}', 'application/json', 405],
      ['GET', '/api/v1/namespaces/default/configmaps/a/status', undefined, 'application/json', 404],
      ['GET', '/api/v1/namespaces/%ZZ', undefined, 'application/json', 404],
      ['GET', '/api/v1/configmaps?watch=true&resourceVersion=x', undefined, 'application/json', 400],
      ['POST', '/api/v1/namespaces/default/configmaps', 'x'.repeat(3_200_000), 'application/json', 413],
    ];
    for (const [method, path, body, type, code] of raw) {
      const answer = await request(socketPath, method, path, body, type).catch(() => undefined);
      if (answer === undefined) assert.is(code, 413, 'the server may hang up on a body that is too long');
      else {
        assert.is(answer.status, code, `${method} ${path}`);
        assert.is((JSON.parse(answer.body) as Status).kind, 'Status');
      }
    }
  }),
);

test(
  'unsupported fields cause warnings; unknown ones are errors, warnings or dropped, as fieldValidation requires',
  withCluster(async ({ client }) => {
    const warnings: string[] = [];
    const container = { name: 'c', image: 'x', volumeDevices: [] };
    const odd = pod('a', {}, { runtimeClassName: 'mine', containers: [container] } as object);
    await client.create(odd, { onWarning: (text) => warnings.push(text) });
    assert.equal(warnings, [
      'spec.containers[0].volumeDevices: this field is not supported here and has no effect',
      'spec.runtimeClassName: this field is not supported here and has no effect',
    ]);
    const unknown = (name: string) =>
      ({ ...configMap(name), foo: 1, metadata: { name, bar: 2 } }) as unknown as Manifest<ConfigMap>;
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
  'status is written separately from the object',
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
  'merge, JSON and strategic merge patches; apply creates or merges',
  withCluster(async ({ client, socketPath }) => {
    await client.create(configMap('a', { x: '1', y: '2' }));
    assert.equal((await client.patch('ConfigMap', 'a', { data: { x: null } })).data, { y: '2' });
    const json = [{ op: 'add', path: '/data/z', value: '3' }];
    assert.equal((await client.patch('ConfigMap', 'a', json, { type: 'json' })).data, { y: '2', z: '3' });
    const applied = configMap('fresh', { k: 'v' });
    await client.patch('ConfigMap', 'fresh', applied, { type: 'apply' });
    const yaml = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: fresh\ndata:\n  more: "1"\n';
    const path = '/api/v1/namespaces/default/configmaps/fresh?fieldManager=kubectl';
    const answer = await request(socketPath, 'PATCH', path, yaml, 'application/apply-patch+yaml');
    assert.equal((JSON.parse(answer.body) as ConfigMap).data, { k: 'v', more: '1' });
  }),
);

test(
  "generateName, secrets' stringData, labels",
  withCluster(async ({ client }) => {
    const named = await client.create({ ...configMap(''), metadata: { generateName: 'web-' } });
    assert.match(named.metadata.name, /^web-[a-z0-9]{5}$/);
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, stringData: { a: 'ü' } };
    const stored = await client.create(secret as unknown as Manifest<KubeObject>);
    assert.equal((stored as unknown as ConfigMap).data, { a: 'w7w=' });
    await client.create(configMap('l', {}, { app: 'web', tier: 'x' }));
    const found = await client.list('ConfigMap', { labelSelector: 'app in (web),tier!=y' });
    assert.equal(
      found.items.map((m) => m.metadata.name),
      ['l'],
    );
  }),
);

test(
  'long lists are complete',
  withCluster(async ({ client }) => {
    for (let i = 0; i < 501; i++) await client.create(configMap(`m${i}`));
    const { items } = await client.list('ConfigMap', { namespace: 'default' });
    assert.is(new Set(items.map((m) => m.metadata.name)).size, 501);
  }),
);

test(
  'secrets have the keys of their type; finalizers have qualified names and cannot be added to terminating objects',
  withCluster(async ({ client }) => {
    const secret = (type: string, data: Record<string, string>): Manifest<KubeObject> =>
      ({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, type, data }) as never;
    const rows: [string, Record<string, string>, RegExp][] = [
      ['kubernetes.io/tls', { 'tls.key': 'YQ==' }, /data\[tls\.crt\]: Required value/],
      ['kubernetes.io/basic-auth', {}, /data\[username\]: Required value, data\[password\]: Required value/],
      ['kubernetes.io/dockerconfigjson', { '.dockerconfigjson': 'YQ==' }, /must be JSON/],
      ['kubernetes.io/service-account-token', {}, /service-account\.name\]: Required value/],
    ];
    for (const [type, data, words] of rows)
      assert.match((await refusal(client.create(secret(type, data)))).message, words);
    await client.create(secret('kubernetes.io/basic-auth', { username: 'YQ==' }));
    const held = configMap('held');
    held.metadata.finalizers = ['not a name'];
    assert.match(
      (await refusal(client.create(held))).message,
      /metadata\.finalizers\[0\]: expected the name of a finalizer/,
    );
    held.metadata.finalizers = ['example.com/hold'];
    await client.create(held);
    await client.delete('ConfigMap', 'held');
    const late = { metadata: { finalizers: ['example.com/hold', 'example.com/late'] } };
    const { message } = await refusal(client.patch('ConfigMap', 'held', late));
    assert.match(message, /no new finalizers can be added if the object is being deleted.*"example\.com\/late"/);
    await client.patch('ConfigMap', 'held', { metadata: { finalizers: null } });
  }),
);

test(
  'only the kinds that have a generation in Kubernetes have one here',
  withCluster(async ({ client }) => {
    assert.is((await client.create(pod('a'))).metadata.generation, 1);
    assert.is((await client.create(service('s'))).metadata.generation, undefined);
  }),
);

test(
  'a deletion that only marks the object as terminating counts as a change of generation, once',
  withCluster(async ({ client }) => {
    const held = pod('a');
    await client.create({ ...held, metadata: { ...held.metadata, finalizers: ['example.com/hold'] } });
    await client.delete('Pod', 'a');
    assert.is((await client.get('Pod', 'a', 'default')).metadata.generation, 2);
    await client.delete('Pod', 'a', { propagationPolicy: 'Foreground' });
    assert.is((await client.get('Pod', 'a', 'default')).metadata.generation, 2);
    const map = configMap('held');
    await client.create({ ...map, metadata: { ...map.metadata, finalizers: ['example.com/hold'] } });
    await client.delete('ConfigMap', 'held');
    assert.is((await client.get('ConfigMap', 'held', 'default')).metadata.generation, undefined);
  }),
);

test(
  'targetPort 0 means that it is not set: Go clients send it so',
  withCluster(async ({ client }) => {
    const made = await client.create<Service>(service('s', { ports: [{ port: 80, targetPort: 0 }] }));
    assert.is(made.spec.ports![0]!.targetPort, 80);
  }),
);

test.run();
