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

/** Acts as the agents: scheduled pods become ready, terminating ones are removed. Returns the minimum of ready pods. */
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
  'a deployment creates its pods, replaces lost ones, and scales',
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
  'a new template rolls out step by step, and availability stays within maxUnavailable',
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
  'deleting a deployment deletes its ReplicaSets and pods',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(deployment(2));
    await playAgents(client, (pods) => pods.length === 2);
    await client.delete('Deployment', 'web');
    await playAgents(client, (pods) => pods.length === 0);
    assert.equal((await client.list('ReplicaSet')).items, []);
  }),
);

const conditionOf = (d: Deployment, type: string) => d.status?.conditions?.find((c) => c.type === type);
const web = (client: ApiClient) => client.get('Deployment', 'web', 'default');
const allReady = (replicas: number, image: string) => (pods: Pod[]) =>
  pods.length === replicas && pods.every((p) => p.spec.containers[0]!.image === image);

test(
  'when pods of a new template never get ready, the old ones stay, and the status counts the unavailable one',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(deployment(3));
    await playAgents(client, allReady(3, 'v1'));
    await eventually(async () => (await web(client)).status?.availableReplicas === 3);
    await client.patch('Deployment', 'web', { spec: { ...deployment(3, 'broken').spec, progressDeadlineSeconds: 1 } });
    const { status } = await eventually(async () => {
      const found = await web(client);
      return found.status?.unavailableReplicas === 1 && found;
    });
    assert.equal([status!.replicas, status!.availableReplicas, status!.updatedReplicas], [4, 3, 1]);
    assert.is(conditionOf(await web(client), 'Progressing')?.reason, 'ReplicaSetUpdated');
    assert.is(conditionOf(await web(client), 'Available')?.status, 'True');
    const late = await eventually(async () => {
      const progress = conditionOf(await web(client), 'Progressing');
      return progress?.status === 'False' && progress;
    }, 5000);
    assert.is(late.reason, 'ProgressDeadlineExceeded');
  }),
);

test(
  'a complete rollout stays complete after pods were lost and replaced',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(deployment(2));
    await playAgents(client, allReady(2, 'v1'));
    const complete = async () => conditionOf(await web(client), 'Progressing')?.reason === 'NewReplicaSetAvailable';
    await eventually(complete);
    const [victim] = await podsOf(client);
    await client.delete('Pod', victim!.metadata.name, { gracePeriodSeconds: 0 });
    await eventually(async () => (await web(client)).status?.availableReplicas === 1);
    assert.ok(await complete());
    await playAgents(client, allReady(2, 'v1'));
    assert.ok(await complete());
  }),
);

test(
  'while a deployment is paused, a new template has no effect, but scaling does',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(deployment(1));
    await playAgents(client, allReady(1, 'v1'));
    await client.patch('Deployment', 'web', { spec: { paused: true } });
    await eventually(async () => conditionOf(await web(client), 'Progressing')?.reason === 'DeploymentPaused');
    await client.patch('Deployment', 'web', { spec: { ...deployment(3, 'v2').spec, paused: true } });
    await playAgents(client, allReady(3, 'v1'));
    assert.is((await client.list('ReplicaSet')).items.length, 1);
    await client.patch('Deployment', 'web', { spec: { paused: false } });
    await playAgents(client, allReady(3, 'v2'));
    assert.is((await client.list('ReplicaSet')).items.length, 2);
  }),
);

test(
  'history: every template is a revision; a rollback makes an old set the newest revision; the limit is enforced',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    const change = (image: string, cause: string) => {
      const metadata = { annotations: { 'kubernetes.io/change-cause': cause } };
      return client.patch('Deployment', 'web', {
        metadata,
        spec: { ...deployment(1, image).spec, revisionHistoryLimit: 2 },
      });
    };
    await client.create(deployment(1));
    for (const image of ['v1', 'v2', 'v3']) {
      await change(image, `to ${image}`);
      await playAgents(client, allReady(1, image));
    }
    const revisions = async () => {
      const { items } = await client.list('ReplicaSet');
      const note = (key: string) => (set: (typeof items)[number]) => set.metadata.annotations?.[key] ?? '';
      return items
        .map((set) => [
          note('deployment.kubernetes.io/revision')(set),
          set.spec.template.spec.containers[0]!.image,
          note('kubernetes.io/change-cause')(set),
        ])
        .sort();
    };
    assert.equal(await revisions(), [
      ['1', 'v1', 'to v1'],
      ['2', 'v2', 'to v2'],
      ['3', 'v3', 'to v3'],
    ]);
    await change('v1', 'back to v1');
    await playAgents(client, allReady(1, 'v1'));
    assert.equal(await revisions(), [
      ['2', 'v2', 'to v2'],
      ['3', 'v3', 'to v3'],
      ['4', 'v1', 'back to v1'],
    ]);
    assert.is((await web(client)).metadata.annotations?.['deployment.kubernetes.io/revision'], '4');
    await change('v4', 'to v4');
    await playAgents(client, allReady(1, 'v4'));
    await eventually(async () => (await revisions()).map(([revision]) => revision).join() === '3,4,5');
  }),
);

test(
  'Recreate: the last old pod is gone before the first new one is created',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    const recreate = (image: string) => ({
      ...deployment(2, image),
      spec: { ...deployment(2, image).spec, strategy: { type: 'Recreate' as const } },
    });
    await client.create(recreate('v1'));
    await playAgents(client, allReady(2, 'v1'));
    await client.patch('Deployment', 'web', { spec: recreate('v2').spec });
    await eventually(async () => (await podsOf(client)).every((p) => p.metadata.deletionTimestamp !== undefined));
    const [first, second] = await podsOf(client);
    await client.delete('Pod', first!.metadata.name, { gracePeriodSeconds: 0 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(
      (await podsOf(client)).map((p) => p.metadata.name),
      [second!.metadata.name],
    );
    await client.delete('Pod', second!.metadata.name, { gracePeriodSeconds: 0 });
    await playAgents(client, allReady(2, 'v2'));
  }),
);

test(
  'matching pods without a controller are adopted; pods that no longer match are released',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(deployment(2));
    await playAgents(client, allReady(2, 'v1'));
    const names = (await podsOf(client)).map((p) => p.metadata.name).sort();
    await client.delete('Deployment', 'web', { propagationPolicy: 'Orphan' });
    await eventually(async () => (await client.list('ReplicaSet')).items[0]?.metadata.ownerReferences === undefined);
    await client.create(deployment(2));
    await eventually(async () => (await client.list('ReplicaSet')).items[0]?.metadata.ownerReferences?.length === 1);
    await playAgents(client, allReady(2, 'v1'));
    assert.equal((await podsOf(client)).map((p) => p.metadata.name).sort(), names, 'the same pods');
    await client.patch('Pod', names[0]!, { metadata: { labels: { app: 'debug' } } });
    await eventually(
      async () => (await client.get('Pod', names[0]!, 'default')).metadata.ownerReferences?.length !== 1,
    );
    await playAgents(client, allReady(2, 'v1'));
  }),
);

test.run();
