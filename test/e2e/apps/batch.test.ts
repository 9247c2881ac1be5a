/** Jobs that share work by index, that are repeated, and that run at regular times. */
import * as assert from 'uvu/assert';
import { applicationSuite, FULL } from '../../lib/applications.ts';
import { eventually } from '../../lib/cluster.ts';
import { testUnless } from '../../lib/test-unless.ts';

const { test, app } = applicationSuite('batch', {
  longForm: true,
  files: 'batch',
});
const namespace = 'default';
const job = (name: string) => app.api.get('Job', name, namespace);
const REPORT = 'brook 5;river 5;spring 6;stream 6;';

const complete = (name: string) =>
  eventually(async () => {
    const { status } = (await job(name)) as {
      status?: { succeeded?: number; conditions?: { type: string; status: string }[] };
    };
    return status?.conditions?.some(({ type, status }) => type === 'Complete' && status === 'True')
      ? status
      : undefined;
  }, 30_000);

test('four pods, two at a time, have done their parts of the work', async () => {
  const { succeeded } = await complete('count-letters');
  assert.is(succeeded, 4);
  const lines = (await app.logs('app=count-letters')).trim().split('\n').sort();
  assert.equal(lines, ['brook 5', 'river 5', 'spring 6', 'stream 6']);
});

test('a container that failed is repeated in its pod, with what it left in the volume', async () => {
  await complete('migrate');
  assert.match(await app.logs('app=migrate'), 'migrated at the second attempt');
  const { items } = await app.api.list('Pod', { namespace, labelSelector: 'app=migrate' });
  assert.is(items.length, 1);
  assert.is(items[0]!.status!.containerStatuses![0]!.restartCount, 1);
});

test('a Job made from the CronJob reads the result', async () => {
  const { spec } = (await app.api.get('CronJob', 'report', namespace)) as unknown as {
    spec: { jobTemplate: { spec: object } };
  };
  const made = {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'report-now', namespace },
    spec: spec.jobTemplate.spec,
  };
  await app.api.create(made as never);
  await complete('report-now');
  assert.is(await app.logs('job-name=report-now'), REPORT);
});

const inLongForm = testUnless(FULL ? undefined : 'the CronJob: in the long form only (npm run test:apps)', test);

inLongForm('the CronJob makes one every minute', async () => {
  await eventually(async () => {
    const { items } = await app.api.list('Job', { namespace });
    const scheduled = items.find(({ metadata }) => /^report-\d+$/.test(metadata.name));
    if (scheduled === undefined) return undefined;
    await complete(scheduled.metadata.name);
    assert.is(await app.logs(`job-name=${scheduled.metadata.name}`), REPORT);
    return true;
  }, 70_000);
});

test('a deleted Job takes its pods with it', async () => {
  await app.cluster.cli('delete', 'job', 'count-letters');
  await eventually(async () => {
    const { items } = await app.api.list('Pod', { namespace, labelSelector: 'app=count-letters' });
    return items.length === 0 || undefined;
  });
});

test.run();
