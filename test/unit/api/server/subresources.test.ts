/** Subresources: scale, eviction, binding. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Deployment, KubeObject, Manifest, Status } from '../../../../src/api/types/objects.ts';
import { addNode, eventually, getJson, pod, request, runPod, withCluster } from '../../controllers/test-cluster.ts';

const deployment = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web' },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: 'web' } },
    template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'c', image: 'x' }] } },
  },
} as Manifest<Deployment>;

const SCALE = '/apis/apps/v1/namespaces/default/deployments/web/scale';

test(
  'scale is read, replaced and patched, with a check of the version it was read at',
  withCluster(async ({ client, socketPath }) => {
    await client.create(deployment);
    const scale = await getJson<{ kind: string; metadata: { resourceVersion: string }; spec: object; status: object }>(
      socketPath,
      SCALE,
    );
    assert.is(scale.kind, 'Scale');
    assert.equal(scale.spec, { replicas: 2 });
    assert.match(JSON.stringify(scale.status), '"selector":"app=web"');
    await eventually(async () => {
      // The Deployment's controller writes to it too.
      const fresh = await getJson<object>(socketPath, SCALE);
      return (await request(socketPath, 'PUT', SCALE, { ...fresh, spec: { replicas: 3 } })).status === 200;
    });
    assert.is((await client.get('Deployment', 'web', 'default')).spec.replicas, 3);
    const stale = { ...scale, metadata: { ...scale.metadata, resourceVersion: '1' } };
    assert.is((await request(socketPath, 'PUT', SCALE, stale)).status, 409);
    const merge = 'application/merge-patch+json';
    assert.is((await request(socketPath, 'PATCH', SCALE, { spec: { replicas: 5 } }, merge)).status, 200);
    assert.is((await client.get('Deployment', 'web', 'default')).metadata.generation, 3);
    assert.is((await request(socketPath, 'PATCH', SCALE, { spec: { replicas: -1 } }, merge)).status, 422);
    await request(socketPath, 'PATCH', `${SCALE}?dryRun=All`, { spec: { replicas: 9 } }, merge);
    assert.is((await client.get('Deployment', 'web', 'default')).spec.replicas, 5);
  }),
);

test(
  'eviction deletes the pod; a dry run of it does not',
  withCluster(async ({ client, socketPath }) => {
    await addNode(client, 'n1');
    await runPod(client, pod('a'));
    const path = '/api/v1/namespaces/default/pods/a/eviction';
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'a', namespace: 'default' } };
    const dry = { ...eviction, deleteOptions: { dryRun: ['All'] } };
    assert.is((await request(socketPath, 'POST', path, dry)).status, 201);
    assert.is((await client.get('Pod', 'a', 'default')).metadata.deletionTimestamp, undefined);
    assert.is((await request(socketPath, 'POST', path, eviction)).status, 201);
    assert.ok((await client.get('Pod', 'a', 'default')).metadata.deletionTimestamp);
    const other = { ...eviction, metadata: { name: 'b' } };
    assert.is((await request(socketPath, 'POST', path, other)).status, 400);
  }),
);

test(
  'binding assigns a pod to a node, once',
  withCluster(async ({ client, socketPath }) => {
    await client.create(pod('a'));
    await client.create({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1' } } as Manifest<KubeObject>);
    const path = '/api/v1/namespaces/default/pods/a/binding';
    const binding = (name: string) => ({
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: 'a' },
      target: { name },
    });
    assert.is((await request(socketPath, 'POST', path, binding('nowhere'))).status, 404);
    assert.is((await request(socketPath, 'POST', path, { ...binding('n1'), target: {} })).status, 422);
    assert.is((await request(socketPath, 'POST', path, binding('n1'))).status, 201);
    assert.is((await client.get('Pod', 'a', 'default')).spec.nodeName, 'n1');
    assert.is((await request(socketPath, 'POST', path, binding('n1'))).status, 409);
  }),
);

test(
  'a deletion returns the object for the kinds where Kubernetes does, and a Status for others',
  withCluster(async ({ client, socketPath }) => {
    await client.create(pod('a'));
    const answer = await request(socketPath, 'DELETE', '/api/v1/namespaces/default/pods/a');
    assert.is((JSON.parse(answer.body) as KubeObject).kind, 'Pod');
    const made = await client.create(deployment);
    const other = await request(socketPath, 'DELETE', SCALE.replace('/scale', ''));
    const status = JSON.parse(other.body) as Status;
    assert.is(status.status, 'Success');
    assert.equal(status.details, { name: 'web', group: 'apps', kind: 'deployments', uid: made.metadata.uid });
  }),
);

test(
  'the log of a pod that has no node yet is empty; of a pod that does not exist it is 404',
  withCluster(async ({ client, socketPath }) => {
    await client.create(pod('a'));
    const path = (name: string) => `/api/v1/namespaces/default/pods/${name}/log`;
    const { status, body } = await request(socketPath, 'GET', path('a'));
    assert.equal([status, body], [200, '']);
    assert.is((await request(socketPath, 'GET', path('none'))).status, 404);
  }),
);

test.run();
