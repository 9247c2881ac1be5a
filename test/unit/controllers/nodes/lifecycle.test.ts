import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Registry } from '../../../../src/api/store/registry.ts';
import { Store } from '../../../../src/api/store/store.ts';
import type { KubeObject, Manifest, NodeObject } from '../../../../src/api/types/objects.ts';
import { makeCluster } from '../../../../src/controllers/cluster.ts';
import { startNodeLifecycle } from '../../../../src/controllers/nodes/lifecycle.ts';
import type { PodAddresses } from '../../../../src/controllers/pods/addresses.ts';
import { addNode, eventually, heartbeat, sleep, type TestCluster, withCluster } from '../test-cluster.ts';

type Client = TestCluster['client'];
const SILENCE_MS = 300;

const ready = async (client: Client, name: string) =>
  (await client.get('Node', name)).status?.conditions?.find(({ type }) => type === 'Ready')?.status;

const lease = (name: string, renewTime: string) =>
  ({
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name, namespace: 'kube-node-lease' },
    spec: { holderIdentity: name, leaseDurationSeconds: 1, renewTime },
  }) as Manifest<KubeObject>;

const microTime = () => new Date().toISOString().replace('Z', '000Z');

test(
  'a node that only renews its Lease stays Ready, until the Lease has run out',
  withCluster(
    async ({ client }) => {
      await addNode(client, 'n1');
      await sleep(SILENCE_MS * 0.7);
      await client.create(lease('n1', microTime()));
      await sleep(SILENCE_MS * 2);
      assert.is(await ready(client, 'n1'), 'True');
      await eventually(async () => (await ready(client, 'n1')) === 'Unknown', 3000);
    },
    { nodeSilenceMs: SILENCE_MS },
  ),
);

test(
  'a node that reports its status as well is not Ready soon after both have stopped, however long its Lease is valid',
  withCluster(
    async ({ client }) => {
      await addNode(client, 'n1');
      await client.create(lease('n1', microTime()));
      for (let i = 0; i < 3; i++) {
        await sleep(SILENCE_MS / 4);
        await heartbeat(client, 'n1', microTime());
      }
      const renewed = { spec: { renewTime: microTime(), leaseDurationSeconds: 40 } };
      await client.patch('Lease', 'n1', renewed, { namespace: 'kube-node-lease' });
      await eventually(async () => (await ready(client, 'n1')) === 'Unknown', 3000);
    },
    { nodeSilenceMs: SILENCE_MS },
  ),
);

test('a node whose silence cannot be written at first, because the disk is full, is not Ready after that', async () => {
  const store = new Store();
  const cluster = makeCluster(store, new Registry(store), () => {});
  const silentNode = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'n1' },
    status: { conditions: [{ type: 'Ready', status: 'True' }] },
  } as unknown as NodeObject;
  store.insert(silentNode);
  const writer = cluster.registry;
  const write = writer.write.bind(writer);
  let refused = 0;
  writer.write = (...args) => {
    if (refused++ < 2) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    return write(...args);
  };
  const lifecycle = startNodeLifecycle(cluster, { podsOn: () => [] } as unknown as PodAddresses, 20);
  const status = () => store.get('Node', undefined, 'n1')?.status?.conditions?.[0]?.status;
  await eventually(() => status() === 'Unknown', 3000);
  assert.is(refused, 3);
  lifecycle.close();
  cluster.close();
});

test('nodes whose agents have registered before the controllers start get the event of registered nodes', () => {
  const store = new Store();
  const cluster = makeCluster(store, new Registry(store), () => {});
  for (const [kind, name] of [
    ['Namespace', 'default'],
    ['Node', 'early'],
  ] as const)
    store.insert({ apiVersion: 'v1', kind, metadata: { name } } as unknown as NodeObject);
  const lifecycle = startNodeLifecycle(cluster, { podsOn: () => [] } as unknown as PodAddresses, 60_000);
  const events = store.list('Event').map(({ reason, message }) => `${reason}: ${message}`);
  assert.equal(events, ['RegisteredNode: Node early event: Registered Node early in Controller']);
  lifecycle.close();
  cluster.close();
});

test.run();
