/** The cases of how Jobs end, against the job controller of Kubernetes, of version 1.34 or newer. */
import { suite } from 'uvu';
import type { Job, Pod } from '../../src/api/types/objects.ts';
import { eventually } from '../lib/cluster.ts';
import { ControlPlane, whyNoControlPlane } from '../lib/control-plane.ts';
import { byCreation, JOB_CASES, type JobClient, jobManifest, runJobCase } from '../lib/jobs/cases.ts';

const why = whyNoControlPlane();
const test = suite('real job controller');
if (why !== undefined) {
  console.log(`skipped: ${why}`);
  for (const [title] of JOB_CASES) test.skip(title, () => {});
}

let plane: ControlPlane;
const NODE = 'n1';
const json = async <T>(...args: string[]): Promise<T> => JSON.parse(await plane.kubectl([...args, '-o', 'json'])) as T;

const client: JobClient = {
  async create(name, spec) {
    await plane.kubectl(['create', '-f', '-'], JSON.stringify(jobManifest(name, spec)));
  },
  job: (name) => json<Job>('get', 'job', name),
  pods: async (name) => byCreation((await json<{ items: Pod[] }>('get', 'pods', '-l', `job-name=${name}`)).items),
  async patchStatus(pod, status) {
    const patch = JSON.stringify({ status });
    await plane.kubectl(['patch', 'pod', pod.metadata.name, '--subresource=status', '--type=merge', '-p', patch]);
  },
  async deletePod(pod, gracePeriodSeconds) {
    const now = gracePeriodSeconds === 0 ? ['--grace-period=0', '--force'] : [];
    await plane.kubectl(['delete', 'pod', pod.metadata.name, '--wait=false', ...now]);
  },
  eventually: (what, probe) =>
    eventually(async () => (await probe()) || undefined, 60_000).catch((error: Error) => {
      throw new Error(`${what}: ${error.message}`);
    }) as never,
};

if (why === undefined) {
  test.before(async () => {
    plane = new ControlPlane(1);
    await plane.start();
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: NODE } };
    await plane.kubectl(['create', '-f', '-'], JSON.stringify(node));
    await eventually(
      async () => ((await plane.tryKubectl('get', 'sa', 'default')).status === 0 ? true : undefined),
      60_000,
    );
  });
  test.after(() => plane?.remove());
  for (const each of JOB_CASES) test(each[0], () => runJobCase(each, client, NODE));
}
test.run();
