/** Preemption: which pods go, and what the scheduler does with them (kubernetes pkg/scheduler/framework/preemption). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ApiClient } from '../../../../src/api/client/client.ts';
import type {
  KubeObject,
  Manifest,
  NodeObject,
  Pod,
  PodDisruptionBudget,
  PriorityClass,
} from '../../../../src/api/types/objects.ts';
import { leastHarm, NO_VICTIMS, victimsOn } from '../../../../src/controllers/pods/preemption.ts';
import { addNode, eventually, pod, runPod, sleep, withCluster } from '../test-cluster.ts';

const node = (name: string) => ({ metadata: { name } }) as NodeObject;
const placed = (name: string, priority: number, startTime = '2026-01-01T00:00:00Z') =>
  ({
    metadata: { name, namespace: 'default', labels: { app: name } },
    spec: { priority },
    status: { startTime },
  }) as unknown as Pod;
const guarding = (app: string, disruptionsAllowed: number) =>
  ({
    metadata: { name: app, namespace: 'default' },
    spec: { selector: { matchLabels: { app } } },
    status: { disruptionsAllowed },
  }) as unknown as PodDisruptionBudget;

/** The victims of a pod of priority 100 on a node with room for `room` pods. */
function victims(room: number, pods: Pod[], budgets: PodDisruptionBudget[] = []): string[] {
  const beside = (others: readonly Pod[]) => (others.length < room ? [] : ['Insufficient cpu']);
  const found = victimsOn(placed('urgent', 100), { node: node('n1'), pods, budgets }, beside);
  return 'victims' in found ? found.victims.map(({ metadata }) => metadata.name) : [...found];
}

test('the pods of the lowest priority go, of equal ones the youngest, and no more than necessary', () => {
  const pods = [placed('low', 1), placed('mid', 5), placed('late', 1, '2026-02-01T00:00:00Z')];
  assert.equal(victims(3, pods), ['late']);
  assert.equal(victims(2, pods), ['low', 'late']);
});

test('pods of the same or a higher priority stay', () => {
  assert.equal(victims(2, [placed('equal', 100), placed('higher', 200)]), [NO_VICTIMS]);
  assert.equal(victims(1, [placed('equal', 100), placed('low', 1)]), ['Insufficient cpu']);
});

test('a pod that its disruption budget protects goes only if nothing else helps', () => {
  const pods = [placed('guarded', 1), placed('free', 50)];
  assert.equal(victims(2, pods, [guarding('guarded', 0)]), ['free']);
  assert.equal(victims(2, pods, [guarding('guarded', 1)]), ['guarded']);
  assert.equal(victims(1, pods, [guarding('guarded', 0)]), ['free', 'guarded']);
});

test('the node: fewest violated budgets, lowest highest priority, smallest sum, fewest pods, latest start', () => {
  const choice = (...candidates: [violations: number, ...pods: Pod[]][]) =>
    leastHarm(candidates.map(([violations, ...pods], i) => ({ node: node(`n${i + 1}`), victims: pods, violations })))
      ?.node.metadata.name;
  assert.is(choice([1, placed('a', 1)], [0, placed('b', 9)]), 'n2');
  assert.is(choice([0, placed('a', 9)], [0, placed('b', 5), placed('c', 5)]), 'n2');
  assert.is(choice([0, placed('a', 5), placed('b', 4)], [0, placed('c', 5), placed('d', 1)]), 'n2');
  assert.is(choice([0, placed('a', 5)], [0, placed('b', 5, '2026-02-01T00:00:00Z')]), 'n2');
  assert.is(choice(), undefined);
});

const requesting = (cpu: string, more: Partial<Pod['spec']> = {}): Partial<Pod['spec']> => ({
  containers: [{ name: 'c', image: 'process', resources: { requests: { cpu } } }],
  ...more,
});

/** A node with two processors, and a class of high priority. */
async function prepare(client: ApiClient): Promise<void> {
  await addNode(client, 'n1');
  const capacity = { cpu: '2', memory: '1Gi', pods: '100' };
  await client.patchStatus<'Node'>('Node', 'n1', undefined, { capacity, allocatable: capacity });
  const high = { apiVersion: 'scheduling.k8s.io/v1', kind: 'PriorityClass', metadata: { name: 'high' }, value: 1000 };
  await client.create(high as Manifest<KubeObject & PriorityClass>);
}

const get = (client: ApiClient, name: string) => client.get('Pod', name, 'default');
const scheduled = async (client: ApiClient, name: string) =>
  (await get(client, name)).status?.conditions?.find(({ type }) => type === 'PodScheduled')?.message;

test(
  'a pod of high priority takes the place of one of low priority, which gets its grace period, a condition and an Event',
  withCluster(async ({ client }) => {
    await prepare(client);
    await runPod(client, pod('low', {}, requesting('1500m', { terminationGracePeriodSeconds: 20 })));
    await client.create(pod('urgent', {}, requesting('1', { priorityClassName: 'high' })));
    const low = await eventually(async () => {
      const found = await get(client, 'low');
      return found.metadata.deletionTimestamp !== undefined && found;
    });
    assert.is(low.metadata.deletionGracePeriodSeconds, 20);
    const target = low.status?.conditions?.find(({ type }) => type === 'DisruptionTarget');
    assert.equal(
      [target?.status, target?.reason, target?.message],
      ['True', 'PreemptionByScheduler', 'default-scheduler: preempting to accommodate a higher priority pod'],
    );
    const urgent = await eventually(async () => {
      const found = await get(client, 'urgent');
      return found.status?.nominatedNodeName === 'n1' && found;
    });
    assert.is(urgent.spec.nodeName, undefined, 'it waits for the end of the other');
    const events = await client.list('Event', { fieldSelector: 'reason=Preempted' });
    assert.equal(
      events.items.map(({ message, involvedObject }) => [involvedObject.name, message]),
      [['low', `Preempted by pod ${urgent.metadata.uid} on node n1`]],
    );
    // What is being cleared is not for pods that come later.
    await client.create(pod('sly', {}, requesting('1')));
    await eventually(async () => (await scheduled(client, 'sly'))?.includes('1 Insufficient cpu'));
    await client.delete('Pod', 'low', { gracePeriodSeconds: 0 });
    await eventually(async () => (await get(client, 'urgent')).spec.nodeName === 'n1');
    await eventually(async () => (await get(client, 'sly')).spec.nodeName === 'n1');
  }),
);

test(
  'no pod is removed in vain: not for a pod that would not fit even so, nor for one that does not preempt',
  withCluster(async ({ client }) => {
    await prepare(client);
    await runPod(client, pod('low', {}, requesting('1')));
    await client.create(pod('huge', {}, requesting('3', { priorityClassName: 'high' })));
    await eventually(async () =>
      (await scheduled(client, 'huge'))?.includes(
        'preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.',
      ),
    );
    const elsewhere = { priorityClassName: 'high', nodeSelector: { disk: 'ssd' } };
    await client.create(pod('picky', {}, requesting('2', elsewhere)));
    await eventually(async () =>
      (await scheduled(client, 'picky'))?.includes('1 Preemption is not helpful for scheduling.'),
    );
    await client.create(pod('equal', {}, requesting('2')));
    await eventually(async () =>
      (await scheduled(client, 'equal'))?.includes('1 No preemption victims found for incoming pod.'),
    );
    const polite = {
      apiVersion: 'scheduling.k8s.io/v1',
      kind: 'PriorityClass',
      metadata: { name: 'polite' },
      value: 2000,
      preemptionPolicy: 'Never',
    };
    await client.create(polite as Manifest<KubeObject & PriorityClass>);
    await client.create(pod('patient', {}, requesting('2', { priorityClassName: 'polite' })));
    await eventually(async () =>
      (await scheduled(client, 'patient'))?.includes('preemption: not eligible due to preemptionPolicy=Never.'),
    );
    assert.is((await get(client, 'low')).metadata.deletionTimestamp, undefined);
  }),
);

test(
  'a pod with anti-affinity preempts the pod that keeps it away; host ports count as well',
  withCluster(async ({ client }) => {
    await prepare(client);
    await runPod(client, pod('low', { app: 'db' }));
    const podAntiAffinity = {
      requiredDuringSchedulingIgnoredDuringExecution: [
        { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: 'db' } } },
      ],
    };
    const spec = { priorityClassName: 'high', affinity: { podAntiAffinity } };
    await client.create(pod('alone', {}, spec));
    await eventually(async () => (await get(client, 'low')).metadata.deletionTimestamp);
    await client.delete('Pod', 'low', { gracePeriodSeconds: 0 });
    await eventually(async () => (await get(client, 'alone')).spec.nodeName);
    const port = { containers: [{ name: 'c', image: 'process', ports: [{ containerPort: 80, hostPort: 8080 }] }] };
    await runPod(client, pod('holder', {}, port));
    await client.create(pod('taker', {}, { ...port, priorityClassName: 'high' }));
    await eventually(async () => (await get(client, 'holder')).metadata.deletionTimestamp);
    await sleep(50);
    assert.is((await get(client, 'alone')).metadata.deletionTimestamp, undefined);
  }),
);

test.run();
