/** How Jobs end: the cases that Kubernetes' own controller is measured by, too; and which Jobs are refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ApiClient } from '../../../../src/api/client/client.ts';
import type { Job, JobSpec, KubeObject, Manifest, Pod } from '../../../../src/api/types/objects.ts';
import { byCreation, JOB_CASES, type JobClient, jobManifest, runJobCase } from '../../../lib/jobs/cases.ts';
import { addNode, eventually, refusal, sleep, withCluster } from '../test-cluster.ts';

const clientOf = (client: ApiClient): JobClient => ({
  async create(name, spec) {
    await client.create(jobManifest(name, spec) as unknown as Manifest<KubeObject>);
  },
  job: (name) => client.get('Job', name, 'default') as Promise<Job>,
  pods: async (name) => {
    const { items } = await client.list('Pod', { namespace: 'default' });
    return byCreation(items.filter(({ metadata }) => metadata.ownerReferences?.[0]?.name === name));
  },
  async patchStatus(pod, status) {
    await client.patchStatus('Pod', pod.metadata.name, 'default', status);
  },
  async deletePod(pod, gracePeriodSeconds) {
    await client.delete('Pod', pod.metadata.name, gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds });
  },
  eventually: (what, probe) =>
    eventually(probe, 5000).catch((error: Error) => {
      throw new Error(`${what}: ${error.message}`);
    }),
});

for (const each of JOB_CASES) {
  test(
    `Job: ${each[0]}`,
    withCluster(async ({ client }) => {
      await addNode(client, 'n1');
      await runJobCase(each, clientOf(client), 'n1');
    }),
  );
}

const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'v1' }] } };
const manifest = (spec: object, name = 'x') =>
  jobManifest(name, { template, ...spec }) as unknown as Manifest<KubeObject>;

test(
  'Job: the failures of an index are remembered when somebody deletes its failed pod before the next one is created',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(manifest({ completionMode: 'Indexed', completions: 1, backoffLimitPerIndex: 5 }));
    const pods = async (): Promise<Pod[]> => (await client.list('Pod', { namespace: 'default' })).items;
    const [pod] = await eventually(async () => {
      const found = await pods();
      return found.length === 1 && found;
    });
    // A second of the back-off of ten is left: time enough to delete the pod that has failed.
    const finishedAt = new Date(Date.now() - 9_000).toISOString();
    const state = { terminated: { exitCode: 1, finishedAt } };
    const containerStatuses = [{ name: 'c', image: 'v1', imageID: '', ready: false, restartCount: 0, state }];
    await client.patchStatus('Pod', pod!.metadata.name, 'default', { phase: 'Failed', containerStatuses });
    await eventually(async () => ((await client.get('Job', 'x', 'default')) as Job).status?.failed === 1);
    await client.delete('Pod', pod!.metadata.name, { gracePeriodSeconds: 0 });
    const [next] = await eventually(async () => {
      const found = await pods();
      return found.length === 1 && found;
    }, 15_000);
    assert.is(next!.metadata.annotations?.['batch.kubernetes.io/job-index-failure-count'], '1');
  }),
);

test(
  'Job: one with a managedBy of somebody else is left alone',
  withCluster(async ({ client }) => {
    await client.create(manifest({ managedBy: 'example.com/queue' }, 'theirs'));
    await client.create(manifest({}, 'ours'));
    await eventually(async () => (await client.list('Pod')).items.length === 1);
    await sleep(50);
    assert.is((await client.list('Pod')).items[0]!.metadata.ownerReferences![0]!.name, 'ours');
    assert.is(((await client.get('Job', 'theirs', 'default')) as Job).status, undefined);
  }),
);

test(
  'Job: what cannot be is refused, with the field',
  withCluster(async ({ client }) => {
    const indexed = { completionMode: 'Indexed', completions: 3 };
    const rules = (...list: object[]) => ({ successPolicy: { rules: list } });
    const cases: [Partial<JobSpec> | object, RegExp][] = [
      [{ backoffLimitPerIndex: 1 }, /spec\.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode/],
      [{ ...indexed, maxFailedIndexes: 1 }, /spec\.backoffLimitPerIndex: Required value: when maxFailedIndexes/],
      [{ ...indexed, backoffLimitPerIndex: 1, maxFailedIndexes: 4 }, /spec\.maxFailedIndexes: .* equal to completions/],
      [
        { completionMode: 'Indexed', parallelism: 2 },
        /spec\.completions: Required value: when completion mode is Indexed/,
      ],
      [{ backoffLimit: -1 }, /spec\.backoffLimit: .*must be greater than or equal to 0/],
      [rules({ succeededCount: 1 }), /spec\.successPolicy: .*requires indexed completion mode/],
      [{ ...indexed, ...rules() }, /spec\.successPolicy\.rules: Required value/],
      [{ ...indexed, ...rules({}) }, /rules\[0\]: Required value: at least one of succeededCount or succeededIndexes/],
      [{ ...indexed, ...rules({ succeededIndexes: '1,0' }) }, /error parsing succeededIndexes: non-increasing order/],
      [{ ...indexed, ...rules({ succeededIndexes: '0-3' }) }, /error parsing succeededIndexes: too large index/],
      [{ ...indexed, ...rules({ succeededIndexes: '0,1', succeededCount: 3 }) }, /succeededCount: .*equal to 2/],
      [{ podFailurePolicy: { rules: [] }, podReplacementPolicy: 'TerminatingOrFailed' }, /podReplacementPolicy: Unsup/],
      [
        { podFailurePolicy: { rules: [{ action: 'FailIndex', onExitCodes: { operator: 'In', values: [1] } }] } },
        /rules\[0\]\.action: .*requires the backoffLimitPerIndex to be set/,
      ],
    ];
    for (const [spec, message] of cases) {
      assert.match((await refusal(client.create(manifest(spec)))).message, message, JSON.stringify(spec));
    }
    await client.create(manifest({ ...indexed, parallelism: 3 }));
    const patch = (spec: object) => client.patch('Job', 'x', { spec });
    assert.match((await refusal(patch({ completions: 4 }))).message, /spec\.completions: .*field is immutable/);
    assert.match(
      (await refusal(patch({ template: { spec: { hostname: 'h' } } }))).message,
      /spec\.template: .*immutable/,
    );
    await patch({ completions: 4, parallelism: 4 });
  }),
);

test.run();
