/**
 * How Jobs end, as cases that play the part of the nodes: run against our control plane (unit tests) and against
 * Kubernetes' own (test/cluster), with the same expectations.
 */
import * as assert from 'uvu/assert';
import type { Job, JobSpec, Pod } from '../../../src/api/types/objects.ts';

export interface JobClient {
  create(name: string, spec: Partial<JobSpec>): Promise<void>;
  job(name: string): Promise<Job>;
  /** Pods of the Job, in the order of their creation. */
  pods(name: string): Promise<Pod[]>;
  patchStatus(pod: Pod, status: object): Promise<void>;
  /** @param gracePeriodSeconds 0 removes it at once */
  deletePod(pod: Pod, gracePeriodSeconds?: number): Promise<void>;
  eventually<T>(what: string, probe: () => Promise<T | false>): Promise<T>;
}

const INDEX = 'batch.kubernetes.io/job-completion-index';
const FAILURES = 'batch.kubernetes.io/job-index-failure-count';
const IGNORED = 'batch.kubernetes.io/job-index-ignored-failure-count';
const indexOf = (pod: Pod) => pod.metadata.annotations?.[INDEX];
const isRunning = ({ status, metadata }: Pod) =>
  metadata.deletionTimestamp === undefined && !['Succeeded', 'Failed'].includes(status?.phase ?? '');

/** One Job and the pods of it that run. */
class Play {
  readonly client: JobClient;
  private readonly name: string;

  constructor(client: JobClient, name: string) {
    this.client = client;
    this.name = name;
  }

  all = (): Promise<Pod[]> => this.client.pods(this.name);

  running(count: number): Promise<Pod[]> {
    return this.client.eventually(`${count} running pods of ${this.name}`, async () => {
      const pods = (await this.all()).filter(isRunning);
      return pods.length === count && pods;
    });
  }

  /** Ends the pod as if its container had exited long enough ago that nothing waits before the next try. */
  async end(pod: Pod, exitCode: number): Promise<void> {
    const finishedAt = '2020-01-01T00:00:00Z';
    const containerStatuses = [
      {
        ...{ name: 'c', image: 'v1', imageID: '', ready: false, restartCount: 0 },
        state: { terminated: { exitCode, startedAt: finishedAt, finishedAt } },
      },
    ];
    await this.client.patchStatus(pod, { phase: exitCode === 0 ? 'Succeeded' : 'Failed', containerStatuses });
  }

  async endIndex(index: number, exitCode: number): Promise<void> {
    const pod = await this.client.eventually(`a pod of index ${index}`, async () => {
      return (await this.all()).find((each) => isRunning(each) && indexOf(each) === String(index)) ?? false;
    });
    await this.end(pod, exitCode);
  }

  /** Removes pods whose deletion has begun, as a node does once their processes have ended. */
  async removeTerminating(): Promise<void> {
    for (const pod of (await this.all()).filter(({ metadata }) => metadata.deletionTimestamp !== undefined)) {
      await this.client.deletePod(pod, 0);
    }
  }

  /** @returns its status once it has a condition of this type */
  async condition(type: string): Promise<NonNullable<Job['status']>> {
    return await this.client.eventually(`${this.name} ${type}`, async () => {
      const { status } = await this.client.job(this.name);
      return status?.conditions?.some((each) => each.type === type && each.status === 'True') === true && status;
    });
  }

  async status(what: string, wanted: (status: NonNullable<Job['status']>) => boolean): Promise<void> {
    await this.client.eventually(`${this.name}: ${what}`, async () => {
      const { status = {} } = await this.client.job(this.name);
      return wanted(status);
    });
  }
}

const conditionsOf = ({ conditions = [] }: NonNullable<Job['status']>) =>
  conditions.map(({ type, status, reason }) => `${type}=${status} ${reason}`);
const figuresOf = ({ succeeded, failed, completedIndexes, failedIndexes }: NonNullable<Job['status']>) => ({
  ...(succeeded !== undefined && { succeeded }),
  ...(failed !== undefined && { failed }),
  ...(completedIndexes !== undefined && { completedIndexes }),
  ...(failedIndexes !== undefined && { failedIndexes }),
});

const indexed = (completions: number, more: Partial<JobSpec>): Partial<JobSpec> => ({
  ...{ completionMode: 'Indexed', completions, parallelism: completions },
  ...more,
});

export const JOB_CASES: readonly [
  title: string,
  name: string,
  spec: Partial<JobSpec>,
  body: (play: Play) => Promise<void>,
][] = [
  [
    'backoffLimitPerIndex: an index that fails too often ends, the others go on, and then the Job has failed',
    'per-index',
    indexed(3, { backoffLimitPerIndex: 1 }),
    async (play) => {
      await play.running(3);
      await play.endIndex(1, 1);
      const again = await play.client.eventually('the next pod', async () => {
        return (
          (await play.all()).find((pod) => isRunning(pod) && pod.metadata.annotations?.[FAILURES] === '1') ?? false
        );
      });
      assert.is(indexOf(again), '1');
      await play.end(again, 1);
      await play.status('an index has failed', ({ failedIndexes }) => failedIndexes === '1');
      assert.is((await play.running(2)).length, 2, 'no third pod for the index');
      await play.endIndex(0, 0);
      await play.endIndex(2, 0);
      const status = await play.condition('Failed');
      assert.equal(figuresOf(status), { succeeded: 2, failed: 2, completedIndexes: '0,2', failedIndexes: '1' });
      assert.equal(conditionsOf(status), ['FailureTarget=True FailedIndexes', 'Failed=True FailedIndexes']);
      assert.is((await play.client.job('per-index')).spec.backoffLimit, 2 ** 31 - 1);
    },
  ],
  [
    'maxFailedIndexes: one more ends the Job, and its remaining pods count as failed',
    'max-failed',
    indexed(4, { backoffLimitPerIndex: 0, maxFailedIndexes: 1 }),
    async (play) => {
      await play.running(4);
      await play.endIndex(0, 1);
      await play.status('an index has failed', ({ failedIndexes }) => failedIndexes === '0');
      await play.endIndex(3, 1);
      const interim = await play.condition('FailureTarget');
      assert.equal(conditionsOf(interim), ['FailureTarget=True MaxFailedIndexesExceeded']);
      await play.running(0);
      await play.removeTerminating();
      const status = await play.condition('Failed');
      assert.equal(figuresOf(status), { failed: 4, failedIndexes: '0,3' });
      assert.is(status.conditions!.at(-1)!.message, 'Job has exceeded the specified maximal number of failed indexes');
    },
  ],
  [
    'podFailurePolicy: FailIndex ends an index at its first failure, Ignore counts apart',
    'fail-index',
    indexed(2, {
      backoffLimitPerIndex: 3,
      podFailurePolicy: {
        rules: [
          { action: 'FailIndex', onExitCodes: { operator: 'In', values: [42] } },
          { action: 'Ignore', onExitCodes: { operator: 'In', values: [7] } },
        ],
      },
    }),
    async (play) => {
      await play.running(2);
      await play.endIndex(0, 42);
      await play.endIndex(1, 7);
      const again = await play.client.eventually('the next pod', async () => {
        return (await play.all()).find((pod) => isRunning(pod) && pod.metadata.annotations?.[IGNORED] === '1') ?? false;
      });
      assert.equal([indexOf(again), again.metadata.annotations?.[FAILURES]], ['1', '0']);
      await play.end(again, 0);
      const status = await play.condition('Failed');
      assert.equal(figuresOf(status), { succeeded: 1, failed: 1, completedIndexes: '1', failedIndexes: '0' });
      assert.is((await play.client.job('fail-index')).spec.podReplacementPolicy, 'Failed');
    },
  ],
  [
    'successPolicy: the Job is complete when one rule is met; pods that still run are deleted',
    'success-policy',
    indexed(4, {
      successPolicy: { rules: [{ succeededIndexes: '3' }, { succeededIndexes: '0-2', succeededCount: 2 }] },
    }),
    async (play) => {
      await play.running(4);
      await play.endIndex(2, 0);
      await play.status('one is complete', ({ succeeded }) => succeeded === 1);
      await play.endIndex(0, 0);
      const interim = await play.condition('SuccessCriteriaMet');
      assert.equal(conditionsOf(interim), ['SuccessCriteriaMet=True SuccessPolicy']);
      await play.running(0);
      await play.removeTerminating();
      const status = await play.condition('Complete');
      assert.equal(figuresOf(status), { succeeded: 2, completedIndexes: '0,2' }, 'the deleted pods have not failed');
      assert.is(status.conditions!.at(-1)!.message, 'Matched rules at index 1');
      assert.ok(status.completionTime);
    },
  ],
  [
    'podReplacementPolicy Failed: a pod is replaced when it has ended, not when its deletion begins',
    'replace-failed',
    { podReplacementPolicy: 'Failed' },
    async (play) => {
      const [first] = await play.running(1);
      await play.client.deletePod(first!);
      await play.status('it terminates', ({ terminating, active }) => terminating === 1 && !active);
      assert.equal((await play.all()).length, 1);
      await play.end((await play.all())[0]!, 1);
      await play.status('it is counted', ({ failed }) => failed === 1);
      await play.running(1);
    },
  ],
  [
    'podReplacementPolicy TerminatingOrFailed: a pod counts as failed when its deletion begins',
    'replace-terminating',
    {},
    async (play) => {
      const [first] = await play.running(1);
      await play.client.deletePod(first!);
      await play.status('it is counted', ({ terminating, failed }) => terminating === 1 && failed === 1);
      assert.is((await play.client.job('replace-terminating')).spec.podReplacementPolicy, 'TerminatingOrFailed');
    },
  ],
  [
    'restartPolicy OnFailure: restarts count towards backoffLimit',
    'restarts',
    { backoffLimit: 2, template: { spec: { restartPolicy: 'OnFailure', containers: [{ name: 'c', image: 'v1' }] } } },
    async (play) => {
      const [pod] = await play.running(1);
      const containerStatuses = [
        {
          name: 'c',
          image: 'v1',
          imageID: '',
          ready: false,
          restartCount: 2,
          state: { waiting: { reason: 'CrashLoopBackOff' } },
        },
      ];
      await play.client.patchStatus(pod!, { phase: 'Running', containerStatuses });
      const interim = await play.condition('FailureTarget');
      assert.equal(conditionsOf(interim), ['FailureTarget=True BackoffLimitExceeded']);
      await play.running(0);
      await play.removeTerminating();
      assert.equal(figuresOf(await play.condition('Failed')), { failed: 1 });
    },
  ],
  [
    'activeDeadlineSeconds: the pods that run then have failed; the Job ends after them',
    'deadline',
    { activeDeadlineSeconds: 1, parallelism: 2, completions: 2 },
    async (play) => {
      await play.condition('FailureTarget');
      const { conditions = [], terminating } = (await play.client.job('deadline')).status ?? {};
      assert.equal(
        conditions.map(({ type }) => type),
        ['FailureTarget'],
      );
      assert.is(terminating, 2);
      await play.removeTerminating();
      const status = await play.condition('Failed');
      assert.equal(figuresOf(status), { failed: 2 });
      assert.equal(conditionsOf(status), ['FailureTarget=True DeadlineExceeded', 'Failed=True DeadlineExceeded']);
    },
  ],
];

/** Runs a case. The pods are bound to `node`, so that a deletion waits for the node. */
export async function runJobCase(
  [, name, spec, body]: (typeof JOB_CASES)[number],
  client: JobClient,
  node: string,
): Promise<void> {
  const given = spec.template?.spec ?? { restartPolicy: 'Never', containers: [{ name: 'c', image: 'v1' }] };
  const template = { spec: { ...given, nodeName: node, terminationGracePeriodSeconds: 600 } };
  await client.create(name, { ...spec, template });
  await body(new Play(client, name));
}

export const jobManifest = (name: string, spec: object) => ({
  ...{ apiVersion: 'batch/v1', kind: 'Job', metadata: { name, namespace: 'default' }, spec },
});

const BORN = ({ metadata }: Pod) => metadata.creationTimestamp + metadata.name;
export const byCreation = (pods: readonly Pod[]): Pod[] => [...pods].sort((a, b) => (BORN(a) < BORN(b) ? -1 : 1));
