import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ApiClient } from '../../../../src/api/client/client.ts';
import type { Deployment, Manifest, Pod } from '../../../../src/api/types/objects.ts';
import { addNode, eventually, setReady, withCluster } from '../test-cluster.ts';

const deployment = (replicas: number, image = 'v1'): Manifest<Deployment> => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web' },
  spec: {
    replicas,
    selector: { matchLabels: { app: 'web' } },
    template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'c', image }] } },
  },
});

const podsOf = async (client: ApiClient) => (await client.list('Pod', { labelSelector: 'app=web' })).items;

/** Plays the agents: what is placed becomes ready, what ends is gone. Returns the fewest ready pods seen. */
async function playAgents(client: ApiClient, until: (pods: Pod[]) => boolean): Promise<number> {
  let fewest = Number.POSITIVE_INFINITY;
  await eventually(async () => {
    const pods = await podsOf(client);
    const isReady = (p: Pod) => p.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True');
    fewest = Math.min(fewest, pods.filter((p) => isReady(p) && !p.metadata.deletionTimestamp).length);
    if (until(pods) && pods.every(isReady)) return true;
    for (const p of pods) {
      const { name, deletionTimestamp, annotations } = p.metadata;
      if (deletionTimestamp) await client.delete('Pod', name, { gracePeriodSeconds: 0 });
      else if (annotations?.['dataplane.dev/pod-ip'] && !isReady(p)) await setReady(client, p, true);
    }
    return false;
  });
  return fewest;
}

test(
  'a deployment has its pods, replaces those that are lost, and scales',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(deployment(3));
    await playAgents(client, (pods) => pods.length === 3);
    await eventually(async () => (await client.get('Deployment', 'web', 'default')).status?.availableReplicas === 3);
    const [victim] = await podsOf(client);
    await client.delete('Pod', victim!.metadata.name, { gracePeriodSeconds: 0 });
    await playAgents(client, (pods) => pods.length === 3);
    await client.patch('Deployment', 'web', { spec: { replicas: 1 } });
    await playAgents(client, (pods) => pods.length === 1);
  }),
);

test(
  'a new template rolls out step by step and never below what is allowed',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(deployment(4));
    await playAgents(client, (pods) => pods.length === 4);
    await eventually(async () => (await client.get('Deployment', 'web', 'default')).status?.availableReplicas === 4);
    await client.patch('Deployment', 'web', { spec: deployment(4, 'v2').spec }, { type: 'merge' });
    const done = (pods: Pod[]) => pods.length === 4 && pods.every((p) => p.spec.containers[0]!.image === 'v2');
    assert.ok((await playAgents(client, done)) >= 3);
    await eventually(async () => {
      const { status } = await client.get('Deployment', 'web', 'default');
      return status?.updatedReplicas === 4 && status.replicas === 4 && status.availableReplicas === 4;
    });
    assert.is((await client.list('ReplicaSet')).items.length, 2);
  }),
);

test(
  'with a deployment goes all that it made',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(deployment(2));
    await playAgents(client, (pods) => pods.length === 2);
    await client.delete('Deployment', 'web');
    await playAgents(client, (pods) => pods.length === 0);
    assert.equal((await client.list('ReplicaSet')).items, []);
  }),
);

test.run();
