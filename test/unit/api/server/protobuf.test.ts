/** Protobuf bodies in Kubernetes' envelope, as Go clients send them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeBody, PROTOBUF } from '../../../../src/api/protobuf/envelope.ts';
import { messageType } from '../../../../src/api/protobuf/root.ts';
import type { Secret } from '../../../../src/api/types/objects.ts';
import { request, withCluster } from '../../controllers/test-cluster.ts';

/** An envelope around a message, whose fields have their names in the .proto files. */
function envelope(apiVersion: string, kind: string, type: string, fields: object): Buffer {
  const message = messageType(type);
  const raw = message.encode(message.fromObject(fields)).finish();
  const unknown = messageType('k8s.io.apimachinery.pkg.runtime.Unknown');
  const body = unknown.encode(unknown.fromObject({ typeMeta: { apiVersion, kind }, raw })).finish();
  return Buffer.concat([Buffer.from('k8s\0'), body]);
}

const CORE = 'k8s.io.api.core.v1';

test('zero values that Go writes for unset fields are left out; zero values behind pointers are kept', () => {
  const deployment = envelope('apps/v1', 'Deployment', 'k8s.io.api.apps.v1.Deployment', {
    // gogo-protobuf writes every field that is not a pointer, even if it is empty.
    metadata: { name: 'web', namespace: '', generateName: '', creationTimestamp: {} },
    spec: {
      replicas: 0,
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: { containers: [{ name: 'c', image: 'x', workingDir: '', stdin: false }], hostNetwork: false },
      },
      minReadySeconds: 0,
      strategy: { type: '' },
    },
    status: {},
  });
  assert.equal(decodeBody(deployment), {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web' },
    spec: {
      replicas: 0,
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: { containers: [{ name: 'c', image: 'x' }] },
      },
      strategy: {},
    },
    status: {},
  });
});

test('inlined structs, quantities, times, named ports and bytes have their JSON forms', () => {
  const pod = envelope('v1', 'Pod', `${CORE}.Pod`, {
    metadata: { name: 'a', creationTimestamp: { seconds: 1_700_000_000, nanos: 0 } },
    spec: {
      volumes: [{ name: 'v', volumeSource: { emptyDir: { sizeLimit: { string: '1Gi' } } } }],
      containers: [
        {
          name: 'c',
          resources: { requests: { cpu: { string: '100m' } } },
          livenessProbe: { handler: { httpGet: { path: '/', port: { type: 1, strVal: 'http' } } }, periodSeconds: 5 },
          env: [{ name: 'A', valueFrom: { secretKeyRef: { localObjectReference: { name: 's' }, key: 'k' } } }],
        },
      ],
    },
  });
  const { metadata, spec } = decodeBody(pod) as { metadata: object; spec: { containers: object[]; volumes: object[] } };
  assert.equal(metadata, { name: 'a', creationTimestamp: '2023-11-14T22:13:20Z' });
  assert.equal(spec.volumes, [{ name: 'v', emptyDir: { sizeLimit: '1Gi' } }]);
  assert.equal(spec.containers, [
    {
      name: 'c',
      resources: { requests: { cpu: '100m' } },
      livenessProbe: { httpGet: { path: '/', port: 'http' }, periodSeconds: 5 },
      env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }],
    },
  ]);
  const secret = envelope('v1', 'Secret', `${CORE}.Secret`, {
    metadata: { name: 's' },
    data: { k: Buffer.from([0, 255]) },
  });
  assert.equal((decodeBody(secret) as Secret).data, { k: 'AP8=' });
});

test(
  'protobuf bodies create, replace and delete; the client can ask for JSON in return',
  withCluster(async ({ client, socketPath }) => {
    const path = '/api/v1/namespaces/default/configmaps';
    const body = (data: object) => envelope('v1', 'ConfigMap', `${CORE}.ConfigMap`, { metadata: { name: 'a' }, data });
    const accept = `application/json,${PROTOBUF}`;
    const made = await request(socketPath, 'POST', path, body({ k: '1' }), PROTOBUF, accept);
    assert.is(made.status, 201);
    assert.is(made.headers['content-type'], 'application/json');
    assert.is((await request(socketPath, 'PUT', `${path}/a`, body({ k: '2' }), PROTOBUF, accept)).status, 200);
    assert.equal((await client.get('ConfigMap', 'a', 'default')).data, { k: '2' });
    const options = envelope('v1', 'DeleteOptions', 'k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions', {
      preconditions: { uid: 'other' },
    });
    assert.is((await request(socketPath, 'DELETE', `${path}/a`, options, PROTOBUF, accept)).status, 409);
    const none = envelope('v1', 'DeleteOptions', 'k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions', {});
    assert.is((await request(socketPath, 'DELETE', `${path}/a`, none, PROTOBUF, accept)).status, 200);
    assert.is(await client.find('ConfigMap', 'a', 'default'), undefined);
  }),
);

test(
  'a body that is not a valid envelope is refused',
  withCluster(async ({ client, socketPath }) => {
    const path = '/api/v1/namespaces/default/configmaps';
    const rows: [Buffer, RegExp][] = [
      [Buffer.from('{}'), /does not appear to be a protobuf message/],
      [Buffer.from('k8s\0\xff\xff', 'latin1'), /runtime\.Unknown/],
      [envelope('v1', 'Gadget', `${CORE}.ConfigMap`, {}), /no kind "Gadget" is registered for version "v1"/],
    ];
    for (const [body, words] of rows) {
      const { status, body: text } = await request(socketPath, 'POST', path, body, PROTOBUF);
      assert.is(status, 400);
      assert.match((JSON.parse(text) as { message: string }).message, words);
    }
    assert.is((await request(socketPath, 'POST', path, 'x', 'text/plain')).status, 415);
    assert.is((await client.list('ConfigMap', { namespace: 'default' })).items.length, 0);
  }),
);

test(
  'bodies that are nested too deeply are refused',
  withCluster(async ({ socketPath }) => {
    const path = '/api/v1/namespaces/default/configmaps';
    const deep = `{"metadata":{"name":"a"},"data":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
    for (const [method, where, type] of [
      ['POST', path, 'application/json'],
      ['PATCH', `${path}/a`, 'application/merge-patch+json'],
      ['PATCH', `${path}/a?fieldManager=m`, 'application/apply-patch+yaml'],
    ] as const) {
      const { status, body } = await request(socketPath, method, where, deep, type);
      assert.is(status, 400);
      assert.match((JSON.parse(body) as { message: string }).message, /nested more than 1000 levels deep/);
    }
  }),
);

test.run();
