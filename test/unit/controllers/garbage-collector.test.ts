/** Garbage collection: which objects are deleted with their owner, by policy, and what is collected at the start. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../../src/api/client/client.ts';
import { Store } from '../../../src/api/store/store.ts';
import type { ConfigMap, Manifest, OwnerReference } from '../../../src/api/types/objects.ts';
import { startController } from '../../../src/controllers/controller.ts';
import { configMap, eventually, request, sleep, type TestCluster, withCluster } from './test-cluster.ts';

const PATH = '/api/v1/namespaces/default/configmaps';

function ownedBy(owner: ConfigMap, more: Partial<OwnerReference> = {}): OwnerReference {
  return { apiVersion: 'v1', kind: 'ConfigMap', name: owner.metadata.name, uid: owner.metadata.uid, ...more };
}

function dependent(name: string, ...ownerReferences: OwnerReference[]): Manifest<ConfigMap> {
  const plain = configMap(name);
  return { ...plain, metadata: { ...plain.metadata, ownerReferences } };
}

const find = ({ client }: TestCluster, name: string) => client.find('ConfigMap', name, 'default');

async function remove({ socketPath }: TestCluster, name: string, policy: string): Promise<void> {
  const { status } = await request(socketPath, 'DELETE', `${PATH}/${name}?propagationPolicy=${policy}`);
  assert.is(status, 200);
}

test(
  'Background: the owner is removed at once, then its dependents and theirs',
  withCluster(async (cluster) => {
    const owner = await cluster.client.create<ConfigMap>(configMap('owner'));
    const child = await cluster.client.create<ConfigMap>(dependent('child', ownedBy(owner)));
    await cluster.client.create(dependent('grandchild', ownedBy(child)));
    await remove(cluster, 'owner', 'Background');
    assert.is(await find(cluster, 'owner'), undefined);
    await eventually(async () => (await find(cluster, 'child')) === undefined);
    await eventually(async () => (await find(cluster, 'grandchild')) === undefined);
  }),
);

test(
  'Orphan: the dependents stay, without their reference to the owner',
  withCluster(async (cluster) => {
    const owner = await cluster.client.create<ConfigMap>(configMap('owner'));
    await cluster.client.create(dependent('child', ownedBy(owner)));
    await remove(cluster, 'owner', 'Orphan');
    await eventually(async () => (await find(cluster, 'owner')) === undefined);
    await sleep(30);
    const child = await find(cluster, 'child');
    assert.ok(child);
    assert.is(child.metadata.ownerReferences, undefined);
  }),
);

test(
  'Foreground: the owner waits only for dependents with blockOwnerDeletion',
  withCluster(async (cluster) => {
    const { client } = cluster;
    const owner = await client.create<ConfigMap>(configMap('owner'));
    const held = dependent('held', ownedBy(owner, { blockOwnerDeletion: true }));
    held.metadata.finalizers = ['example.com/hold'];
    await client.create(held);
    const free = dependent('free', ownedBy(owner));
    free.metadata.finalizers = ['example.com/hold'];
    await client.create(free);
    await remove(cluster, 'owner', 'Foreground');
    const waiting = await find(cluster, 'owner');
    assert.equal(waiting!.metadata.finalizers, ['foregroundDeletion']);
    for (const name of ['held', 'free']) {
      await eventually(async () => (await find(cluster, name))!.metadata.deletionTimestamp !== undefined);
    }
    await sleep(30);
    assert.ok(await find(cluster, 'owner'));
    await client.patch('ConfigMap', 'held', { metadata: { finalizers: null } });
    await eventually(async () => (await find(cluster, 'owner')) === undefined);
    assert.ok(await find(cluster, 'free'), 'waits for its own finalizer');
    await client.patch('ConfigMap', 'free', { metadata: { finalizers: null } });
  }),
);

test(
  'an object with several owners stays while one exists, and loses the references to the others',
  withCluster(async (cluster) => {
    const one = await cluster.client.create<ConfigMap>(configMap('one'));
    const two = await cluster.client.create<ConfigMap>(configMap('two'));
    await cluster.client.create(dependent('child', ownedBy(one), ownedBy(two)));
    await remove(cluster, 'one', 'Background');
    await eventually(async () => (await find(cluster, 'child'))!.metadata.ownerReferences!.length === 1);
    assert.is((await find(cluster, 'child'))!.metadata.ownerReferences![0]!.name, 'two');
  }),
);

test(
  'an owner that never existed, or has another uid now, counts as gone; one of a kind that is not served does not',
  withCluster(async (cluster) => {
    const { client } = cluster;
    const present = await client.create<ConfigMap>(configMap('owner'));
    await client.create(dependent('never', ownedBy(present, { name: 'nobody', uid: 'x' })));
    await client.create(dependent('other', ownedBy(present, { uid: 'the-one-before' })));
    await client.create(dependent('strange', ownedBy(present, { apiVersion: 'example.com/v1', kind: 'Gadget' })));
    await eventually(async () => (await find(cluster, 'never')) === undefined);
    await eventually(async () => (await find(cluster, 'other')) === undefined);
    await sleep(30);
    assert.ok(await find(cluster, 'strange'));
  }),
);

test('dependents of owners that were deleted while no controller ran are collected at the start', async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'dataplane-gc-'));
  const store = new Store({ directory: join(stateDir, 'store') });
  const made = (manifest: Manifest<ConfigMap>) => {
    const metadata = { ...manifest.metadata, namespace: 'default' };
    return store.insert({ ...manifest, metadata } as unknown as ConfigMap);
  };
  const owner = made(configMap('owner'));
  made(dependent('child', ownedBy(owner)));
  store.remove(owner); // the controller is killed after this, before it has processed the dependents
  await store.close();
  const socketPath = join(stateDir, 'api.sock');
  const controller = await startController({ stateDir, socketPath });
  const client = new ApiClient(socketPath);
  try {
    await eventually(async () => (await client.find('ConfigMap', 'child', 'default')) === undefined);
  } finally {
    client.close();
    await controller.close();
    rmSync(stateDir, { recursive: true });
  }
});

test(
  'a deletion without a policy does not override an earlier one with a policy',
  withCluster(async (cluster) => {
    const owner = configMap('owner');
    owner.metadata.finalizers = ['example.com/hold'];
    await cluster.client.create(owner);
    await remove(cluster, 'owner', 'Foreground');
    await cluster.client.delete('ConfigMap', 'owner');
    const finalizers = (await find(cluster, 'owner'))!.metadata.finalizers!;
    assert.ok(finalizers.includes('example.com/hold'));
    await cluster.client.patch('ConfigMap', 'owner', { metadata: { finalizers: null } });
    await eventually(async () => (await find(cluster, 'owner')) === undefined);
  }),
);

test.run();
