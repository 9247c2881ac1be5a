/** StatefulSets, DaemonSets, ReplicationControllers, Jobs, CronJobs and budgets; the test acts as the agents. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ApiClient } from '../../../../src/api/client/client.ts';
import type {
  CronJob,
  DaemonSet,
  Job,
  KubeObject,
  Manifest,
  Pod,
  StatefulSet,
} from '../../../../src/api/types/objects.ts';
import { addNode, eventually, refusal, request, setReady, sleep, withCluster } from '../test-cluster.ts';

const template = (image = 'v1', spec: object = {}) => ({
  metadata: { labels: { app: 'x' } },
  spec: { containers: [{ name: 'c', image }], ...spec },
});
const selector = { matchLabels: { app: 'x' } };
const apps = (kind: string, spec: object) =>
  ({
    apiVersion: 'apps/v1',
    kind,
    metadata: { name: 'x' },
    spec: { selector, template: template(), ...spec },
  }) as unknown as Manifest<KubeObject>;
const jobSpec = (spec: object = {}) => ({ template: template('v1', { restartPolicy: 'Never' }), ...spec });
const job = (spec: object, name = 'x') =>
  ({ apiVersion: 'batch/v1', kind: 'Job', metadata: { name }, spec: jobSpec(spec) }) as unknown as Manifest<KubeObject>;

const podsOf = async (client: ApiClient) =>
  (await client.list('Pod', { namespace: 'default' })).items.sort((a, b) =>
    a.metadata.name < b.metadata.name ? -1 : 1,
  );
const namesOf = async (client: ApiClient) => (await podsOf(client)).map((p) => p.metadata.name);
const isReady = (p: Pod) => p.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true;

/** One pass as the agents: scheduled pods become ready, terminating ones are removed. */
async function playOnce(client: ApiClient, mayBeReady: (pod: Pod) => boolean = () => true): Promise<void> {
  for (const pod of await podsOf(client)) {
    const { name, deletionTimestamp, annotations } = pod.metadata;
    const over = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
    if (over) continue;
    if (deletionTimestamp) await client.delete('Pod', name, { gracePeriodSeconds: 0 });
    else if (annotations?.['dataplane.dev/pod-ip'] && !isReady(pod) && mayBeReady(pod))
      await setReady(client, pod, true);
  }
}

const play = (client: ApiClient, until: () => Promise<boolean>, mayBeReady?: (pod: Pod) => boolean) =>
  eventually(async () => {
    if (await until()) return true;
    await playOnce(client, mayBeReady);
    return false;
  }, 5000);

async function finish(client: ApiClient, pod: Pod, phase: 'Succeeded' | 'Failed', failure = 1): Promise<void> {
  const finishedAt = new Date(Date.now() - 3_600_000).toISOString(); // long enough ago for no back-off
  const terminated = { exitCode: phase === 'Failed' ? failure : 0, finishedAt };
  const containerStatuses = [
    { name: 'c', image: 'v1', imageID: '', ready: false, restartCount: 0, state: { terminated } },
  ];
  await client.patchStatus('Pod', pod.metadata.name, 'default', { phase, containerStatuses });
}

test(
  'StatefulSet: pods are created one after the other, deleted from the last, and keep their names',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(apps('StatefulSet', { replicas: 3, serviceName: 'peers' }));
    await eventually(async () => (await namesOf(client)).join() === 'x-0');
    await sleep(50);
    assert.equal(await namesOf(client), ['x-0'], 'the second waits for the first');
    const get = () => client.get('StatefulSet', 'x', 'default') as Promise<StatefulSet>;
    await play(client, async () => (await get()).status?.availableReplicas === 3);
    const [first] = await podsOf(client);
    assert.equal([first!.spec.hostname, first!.spec.subdomain], ['x-0', 'peers']);
    assert.is(first!.metadata.labels?.['apps.kubernetes.io/pod-index'], '0');
    await client.delete('Pod', 'x-1', { gracePeriodSeconds: 0 });
    await play(
      client,
      async () => (await namesOf(client)).join() === 'x-0,x-1,x-2' && (await podsOf(client)).every(isReady),
    );
    await client.patch('StatefulSet', 'x', { spec: { replicas: 1 } });
    await eventually(
      async () => (await client.find('Pod', 'x-2', 'default'))?.metadata.deletionTimestamp !== undefined,
    );
    assert.is((await client.get('Pod', 'x-1', 'default')).metadata.deletionTimestamp, undefined, 'one at a time');
    await play(client, async () => (await namesOf(client)).join() === 'x-0');
  }),
);

test(
  'StatefulSet: Parallel creates all at once; below the partition pods keep the old template, even when recreated',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(apps('StatefulSet', { replicas: 3, podManagementPolicy: 'Parallel' }));
    await eventually(async () => (await namesOf(client)).length === 3);
    const get = () => client.get('StatefulSet', 'x', 'default') as Promise<StatefulSet>;
    await play(client, async () => (await get()).status?.availableReplicas === 3);
    const images = async () => (await podsOf(client)).map((p) => p.spec.containers[0]!.image);
    const updateStrategy = { type: 'RollingUpdate', rollingUpdate: { partition: 2 } };
    await client.patch('StatefulSet', 'x', { spec: { updateStrategy, template: template('v2') } });
    await play(client, async () => (await images()).join() === 'v1,v1,v2' && (await podsOf(client)).every(isReady));
    await client.delete('Pod', 'x-0', { gracePeriodSeconds: 0 });
    await play(client, async () => (await images()).join() === 'v1,v1,v2' && (await podsOf(client)).every(isReady));
    const { currentRevision, updateRevision, updatedReplicas } = (await get()).status!;
    assert.is.not(currentRevision, updateRevision);
    assert.is(updatedReplicas, 1);
    await client.patch('StatefulSet', 'x', { spec: { updateStrategy: { rollingUpdate: { partition: 0 } } } });
    await play(client, async () => (await images()).join() === 'v2,v2,v2' && (await podsOf(client)).every(isReady));
    await eventually(async () => (await get()).status?.currentRevision === updateRevision);
    assert.is((await client.list('ControllerRevision')).items.length, 2);
  }),
);

test(
  'StatefulSet: every pod has a claim, which outlives it',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    const claim = {
      metadata: { name: 'data' },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
    };
    await client.create(apps('StatefulSet', { replicas: 1, volumeClaimTemplates: [claim] }));
    await eventually(async () => (await namesOf(client)).length === 1);
    const [pod] = await podsOf(client);
    assert.equal(pod!.spec.volumes?.[0], { name: 'data', persistentVolumeClaim: { claimName: 'data-x-0' } });
    await client.patch('StatefulSet', 'x', { spec: { replicas: 0 } });
    await play(client, async () => (await namesOf(client)).length === 0);
    assert.ok(await client.get('PersistentVolumeClaim', 'data-x-0', 'default'));
  }),
);

test(
  'DaemonSet: one pod on every fitting node, including later ones; updates go node by node',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1', { disk: 'ssd' });
    await addNode(client, 'n2');
    await client.create(apps('DaemonSet', { template: template('v1', { nodeSelector: { disk: 'ssd' } }) }));
    const get = () => client.get('DaemonSet', 'x', 'default') as Promise<DaemonSet>;
    const nodes = async () => (await podsOf(client)).map((p) => p.spec.nodeName).sort();
    await play(client, async () => (await get()).status?.numberAvailable === 1);
    assert.equal(await nodes(), ['n1']);
    await client.patch('Node', 'n2', { metadata: { labels: { disk: 'ssd' } } });
    await addNode(client, 'n3', { disk: 'ssd' });
    await play(client, async () => (await get()).status?.numberAvailable === 3);
    assert.equal(await nodes(), ['n1', 'n2', 'n3']);
    let fewest = 3;
    await client.patch('DaemonSet', 'x', { spec: { template: template('v2', { nodeSelector: { disk: 'ssd' } }) } });
    await play(client, async () => {
      const pods = await podsOf(client);
      fewest = Math.min(fewest, pods.filter((p) => isReady(p) && !p.metadata.deletionTimestamp).length);
      return pods.length === 3 && pods.every((p) => isReady(p) && p.spec.containers[0]!.image === 'v2');
    });
    assert.is(fewest, 2, 'one at a time');
    await client.patch('Node', 'n3', { spec: { taints: [{ key: 'only', effect: 'NoSchedule' }] } });
    await play(client, async () => (await nodes()).join() === 'n1,n2');
    await client.patch('Node', 'n2', { spec: { unschedulable: true } });
    await sleep(50);
    assert.equal(await nodes(), ['n1', 'n2'], 'a cordoned node keeps its daemon pod');
  }),
);

test(
  'ReplicationController: selector and labels default to those of its template',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    const rc = {
      apiVersion: 'v1',
      kind: 'ReplicationController',
      metadata: { name: 'x' },
      spec: { replicas: 2, template: template() },
    };
    await client.create(rc as unknown as Manifest<KubeObject>);
    await play(client, async () => {
      const { status } = await client.get('ReplicationController', 'x', 'default');
      return status?.availableReplicas === 2;
    });
    assert.equal((await client.get('ReplicationController', 'x', 'default')).spec.selector, { app: 'x' });
  }),
);

test(
  'Job: parallelism and completions are kept, and pods deleted later change no count',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(job({ completions: 3, parallelism: 2 }));
    const get = () => client.get('Job', 'x', 'default') as Promise<Job>;
    await eventually(async () => (await get()).status?.active === 2);
    for (let done = 1; done <= 3; done++) {
      const [running] = (await podsOf(client)).filter((p) => p.status?.phase !== 'Succeeded');
      await finish(client, running!, 'Succeeded');
      await eventually(async () => (await get()).status?.succeeded === done);
      await client.delete('Pod', running!.metadata.name, { gracePeriodSeconds: 0 });
    }
    const { status } = await get();
    assert.is(status!.succeeded, 3);
    assert.ok(status!.completionTime);
    assert.equal(
      status!.conditions!.map(({ type, status: s }) => `${type} ${s}`),
      ['SuccessCriteriaMet True', 'Complete True'],
    );
    assert.equal(await namesOf(client), []);
  }),
);

test(
  'Job: it fails after too many failures; a deleted pod counts as one',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(job({ backoffLimit: 1 }));
    const get = () => client.get('Job', 'x', 'default') as Promise<Job>;
    const active = async () => (await podsOf(client)).filter((p) => p.status?.phase !== 'Failed');
    await eventually(async () => (await active()).length === 1);
    await client.delete('Pod', (await active())[0]!.metadata.name, { gracePeriodSeconds: 0 });
    await eventually(async () => (await get()).status?.failed === 1 && (await active()).length === 1);
    await finish(client, (await active())[0]!, 'Failed');
    const { status } = await eventually(async () => {
      const found = await get();
      return found.status?.conditions?.some((c) => c.type === 'Failed') && found;
    });
    assert.is(status!.failed, 2);
    assert.is(status!.conditions!.at(-1)!.reason, 'BackoffLimitExceeded');
  }),
);

test(
  'Job: podFailurePolicy ends it at once for one exit code and ignores another',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    const rule = (action: string, value: number) => ({ action, onExitCodes: { operator: 'In', values: [value] } });
    const rules = [rule('FailJob', 42), rule('Ignore', 7)];
    await client.create(job({ backoffLimit: 0, podFailurePolicy: { rules } }));
    const get = () => client.get('Job', 'x', 'default') as Promise<Job>;
    const fail = async (exitCode: number) => {
      const [pod] = await eventually(async () => {
        const running = (await podsOf(client)).filter((p) => p.status?.phase !== 'Failed');
        return running.length === 1 && running;
      }, 15_000);
      await finish(client, pod!, 'Failed', exitCode);
    };
    await fail(7);
    await fail(42);
    const { status } = await eventually(async () => {
      const found = await get();
      return found.status?.conditions?.some((c) => c.type === 'Failed') && found;
    });
    assert.is(status!.failed, 1, 'one is ignored');
    assert.is(status!.conditions!.at(-1)!.reason, 'PodFailurePolicy');
    assert.match(
      status!.conditions!.at(-1)!.message ?? '',
      /failed with exit code 42 matching FailJob rule at index 0$/,
    );
  }),
);

test(
  'Job: each index completes once; activeDeadlineSeconds, suspend and ttlSecondsAfterFinished take effect',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(job({ completions: 3, parallelism: 3, completionMode: 'Indexed' }));
    const index = (p: Pod) => p.metadata.annotations?.['batch.kubernetes.io/job-completion-index'];
    await eventually(async () => (await podsOf(client)).length === 3);
    const pods = await podsOf(client);
    assert.equal(pods.map(index).sort(), ['0', '1', '2']);
    const second = pods.find((p) => index(p) === '1')!;
    assert.equal(second.spec.containers[0]!.env, [{ name: 'JOB_COMPLETION_INDEX', value: '1' }]);
    assert.is(second.spec.hostname, 'x-1');
    for (const pod of pods) if (index(pod) !== '1') await finish(client, pod, 'Succeeded');
    const get = (name: string) => client.get('Job', name, 'default') as Promise<Job>;
    await eventually(async () => (await get('x')).status?.completedIndexes === '0,2');
    await client.patch('Job', 'x', { spec: { suspend: true } });
    await play(
      client,
      async () => (await get('x')).status?.active === undefined && (await get('x')).status?.failed === undefined,
    );
    await client.patch('Job', 'x', { spec: { suspend: false } });
    await play(client, async () =>
      (await podsOf(client)).some((p) => index(p) === '1' && p.metadata.uid !== second.metadata.uid),
    );
    assert.is((await get('x')).status?.failed, undefined, 'a pod that the Job deletes is no failure');
    await client.create(job({ activeDeadlineSeconds: 1 }, 'late'));
    await eventually(async () => (await get('late')).status?.conditions?.at(-1)?.reason === 'DeadlineExceeded', 4000);
    await client.create(job({ ttlSecondsAfterFinished: 1 }, 'brief'));
    await eventually(async () => (await podsOf(client)).some((p) => p.metadata.name.startsWith('brief-')));
    const [brief] = (await podsOf(client)).filter((p) => p.metadata.name.startsWith('brief-'));
    await finish(client, brief!, 'Succeeded');
    await eventually(async () => (await client.find('Job', 'brief', 'default')) === undefined && true, 5000);
  }),
);

test(
  'CronJob: of several missed runs only the latest is started; Forbid waits; history limits are enforced',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    const cron = (name: string, spec: object) =>
      ({
        apiVersion: 'batch/v1',
        kind: 'CronJob',
        metadata: { name },
        spec: { schedule: '* * * * *', jobTemplate: { spec: jobSpec() }, ...spec },
      }) as unknown as Manifest<KubeObject>;
    // As if created two minutes ago.
    await client.create(cron('x', { suspend: true, concurrencyPolicy: 'Forbid' }));
    const lastScheduleTime = `${new Date(Date.now() - 150_000).toISOString().slice(0, 19)}Z`;
    await client.patchStatus('CronJob', 'x', 'default', { lastScheduleTime });
    await client.patch('CronJob', 'x', { spec: { suspend: false } });
    const jobs = async () => (await client.list('Job')).items;
    await eventually(async () => (await jobs()).length === 1);
    const [made] = await jobs();
    const due = Math.floor(Date.now() / 60_000);
    assert.ok([`x-${due}`, `x-${due - 1}`].includes(made!.metadata.name), made!.metadata.name);
    assert.is(made!.metadata.ownerReferences?.[0]?.name, 'x');
    const { status } = await eventually(async () => {
      const found = (await client.get('CronJob', 'x', 'default')) as CronJob;
      return found.status?.active?.length === 1 && found;
    });
    assert.ok(Date.parse(status!.lastScheduleTime!) > Date.now() - 61_000);
    await client.patchStatus('CronJob', 'x', 'default', { lastScheduleTime });
    await sleep(50);
    assert.is((await jobs()).length, 1, 'the first is still running');
    const bad = await refusal(client.create(cron('bad', { schedule: 'every day' })));
    assert.match(bad.message, 'spec.schedule');
    assert.match(
      (await refusal(client.create(cron('zone', { timeZone: 'Mars/Phobos' })))).message,
      'unknown time zone',
    );
  }),
);

test(
  'a budget allows exactly as many evictions as there are healthy pods above its minimum',
  withCluster(async ({ client, socketPath }) => {
    await addNode(client, 'n1');
    await client.create(apps('ReplicaSet', { replicas: 3 }));
    const budget = {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata: { name: 'b' },
      spec: { selector, minAvailable: 2 },
    };
    await client.create(budget as unknown as Manifest<KubeObject>);
    const get = () => client.get('PodDisruptionBudget', 'b', 'default');
    await play(client, async () => (await get()).status?.disruptionsAllowed === 1);
    const names = await namesOf(client);
    const evict = async (name: string) => {
      const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace: 'default' } };
      return (await request(socketPath, 'POST', `/api/v1/namespaces/default/pods/${name}/eviction`, body)).status;
    };
    const codes = await Promise.all(names.map(evict));
    assert.equal(codes.sort(), [201, 429, 429]);
    assert.is((await get()).status?.disruptionsAllowed, 0);
    await play(client, async () => (await get()).status?.disruptionsAllowed === 1);
  }),
);

test(
  'taints: NoSchedule keeps new pods away; NoExecute deletes pods without a toleration, or after tolerationSeconds',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    const pod = (name: string, spec: object = {}) =>
      client.create({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name },
        spec: { containers: [{ name: 'c', image: 'v1' }], ...spec },
      } as Manifest<Pod>);
    const tolerate = (tolerationSeconds?: number) => [
      { key: 'k', operator: 'Exists' as const, ...(tolerationSeconds !== undefined && { tolerationSeconds }) },
    ];
    await pod('plain');
    await pod('patient', { tolerations: tolerate(1) });
    await pod('immune', { tolerations: tolerate() });
    await eventually(async () => (await podsOf(client)).every((p) => p.spec.nodeName === 'n1'));
    await client.patch('Node', 'n1', { spec: { taints: [{ key: 'k', effect: 'NoSchedule' }] } });
    await pod('late');
    await eventually(async () => {
      const { status } = await client.get('Pod', 'late', 'default');
      return status?.conditions?.some((c) => c.message?.includes('had untolerated taint {k: }'));
    });
    await client.patch('Node', 'n1', { spec: { taints: [{ key: 'k', effect: 'NoExecute' }] } });
    const ending = async (name: string) =>
      (await client.get('Pod', name, 'default')).metadata.deletionTimestamp !== undefined;
    await eventually(() => ending('plain'));
    assert.not(await ending('patient'));
    await eventually(() => ending('patient'), 4000);
    assert.not(await ending('immune'));
  }),
);

test(
  'StatefulSet: what the identity of its pods depends on cannot change',
  withCluster(async ({ client }) => {
    await client.create(apps('StatefulSet', { replicas: 0, serviceName: 'peers' }));
    for (const spec of [{ serviceName: 'others' }, { podManagementPolicy: 'Parallel' }]) {
      const error = await refusal(client.patch('StatefulSet', 'x', { spec }));
      assert.is(error.code, 422);
      assert.match(error.message, /spec: Forbidden: updates to statefulset spec for fields other than 'replicas', /);
    }
    const { spec } = await client.patch('StatefulSet', 'x', { spec: { minReadySeconds: 3 } });
    assert.is(spec.minReadySeconds, 3);
  }),
);

test.run();
