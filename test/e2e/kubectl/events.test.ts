/** The events of pods and nodes as kubectl describe shows them: kubelet's and the controllers' reasons, messages and order. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, eventually, processPod, startCluster } from '../../lib/cluster.ts';
import { kubectl, whyNoKubectl } from '../../lib/kubectl.ts';
import { testUnless } from '../../lib/test-unless.ts';

const why = whyNoKubectl();
const kubectlTest = testUnless(why);

let cluster: Cluster;
test.before(async () => {
  if (why !== undefined) return;
  cluster = await startCluster({
    args: ['--nodes', '1'],
    manifests: [processPod('web', undefined, ['sleep', '1000'])],
  });
});
test.after(() => cluster?.down());

/** The lines below `Events:`, without their times: type, reason, source and message. */
async function eventsOf(kind: string, name: string): Promise<string[]> {
  const text = await kubectl(['describe', kind, name]);
  const lines = text.slice(text.indexOf('\nEvents:')).split('\n').slice(4);
  return lines
    .filter((line) => line.trim() !== '')
    .map((line) => line.trim().split(/ {2,}/))
    .map(([type, reason, , from, message = '']) => `${type} ${reason} ${from} ${message.replace(/^spec\.\S+: /, '')}`);
}

const eventuallyHas = (kind: string, name: string, wanted: RegExp) =>
  eventually(async () => (await eventsOf(kind, name)).find((line) => wanted.test(line)), 15_000);

kubectlTest('a pod that starts: scheduled, image there, created, started, in this order', async () => {
  assert.equal(
    await eventually(async () => ((await eventsOf('pod', 'web')).length >= 4 ? eventsOf('pod', 'web') : undefined)),
    [
      'Normal Scheduled default-scheduler Successfully assigned default/web to n1',
      'Normal Pulled kubelet Container image "process" already present on machine',
      'Normal Created kubelet Created container: main',
      'Normal Started kubelet Started container main',
    ],
  );
});

kubectlTest('a pod that is deleted: its containers are stopped', async () => {
  await kubectl(['delete', 'pod', 'web', '--wait=false']);
  const killed = 'Killing\tStopping container main';
  const columns = 'jsonpath={range .items[*]}{.reason}{"\\t"}{.message}{"\\n"}{end}';
  await eventually(async () => {
    const events = await kubectl(['get', 'events', '--field-selector', 'involvedObject.name=web', '-o', columns]);
    return events.split('\n').includes(killed) || undefined;
  });
});

kubectlTest('a container that keeps failing: BackOff in the words of kubelet', async () => {
  await cluster.apply(processPod('crash', 'n1', ['false']));
  const line = await eventuallyHas('pod', 'crash', / BackOff /);
  assert.match(
    line,
    /^Warning BackOff kubelet Back-off restarting failed container main in pod crash_default\([-0-9a-f]{36}\)$/,
  );
});

kubectlTest('an image, a ConfigMap, a node that is not there; a deadline that passes; hooks that fail', async () => {
  const absent = {
    ...processPod('no-image', 'n1', []),
    spec: { containers: [{ name: 'main', image: 'nowhere.example/x:1' }] },
  };
  const nomap = processPod('no-map', 'n1', ['sleep', '1000'], { volumeMounts: [{ name: 'v', mountPath: '/v' }] });
  const late = processPod('late', 'n1', ['sleep', '1000']);
  const hook = { exec: { command: ['sh', '-c', 'echo no >&2; exit 3'] } };
  await cluster.apply(
    absent,
    { ...nomap, spec: { ...nomap.spec, volumes: [{ name: 'v', configMap: { name: 'nope' } }] } },
    {
      ...processPod('no-node', undefined, ['true']),
      spec: { ...processPod('', undefined, ['true']).spec, nodeSelector: { a: 'b' } },
    },
    { ...late, spec: { ...late.spec, activeDeadlineSeconds: 1 } },
    processPod('hooks', 'n1', ['sleep', '1000'], { lifecycle: { postStart: hook, preStop: hook } }),
  );
  await eventuallyHas('pod', 'no-image', /^Normal BackOff kubelet Back-off pulling image "nowhere\.example\/x:1"$/);
  const pulled = (await eventsOf('pod', 'no-image')).map((line) => line.slice(0, 60));
  assert.equal(
    pulled.filter((line) => / (Pulling|Failed) /.test(line)),
    [
      'Normal Pulling kubelet Pulling image "nowhere.example/x:1"',
      'Warning Failed kubelet Failed to pull image "nowhere.example',
      'Warning Failed kubelet Error: ErrImagePull',
      'Warning Failed kubelet Error: ImagePullBackOff',
    ],
  );
  await eventuallyHas(
    'pod',
    'no-map',
    /^Warning FailedMount kubelet MountVolume\.SetUp failed for volume "v" : configmap "nope" not found$/,
  );
  await eventuallyHas(
    'pod',
    'no-node',
    /^Warning FailedScheduling default-scheduler 0\/1 nodes are available: 1 node\(s\) didn't match Pod's node affinity\/selector\. preemption: 0\/1 nodes are available: 1 Preemption is not helpful for scheduling\.$/,
  );
  await eventuallyHas(
    'pod',
    'late',
    /^Normal DeadlineExceeded kubelet Pod was active on the node longer than the specified deadline$/,
  );
  await eventuallyHas('pod', 'hooks', /^Warning FailedPostStartHook kubelet PostStartHook failed: no$/);
  await eventuallyHas('pod', 'hooks', /^Normal Killing kubelet FailedPostStartHook$/);
  await eventuallyHas('pod', 'hooks', /^Warning FailedPreStopHook kubelet PreStopHook failed: no$/);
});

kubectlTest('a node: registered, ready, cordoned and uncordoned', async () => {
  await kubectl(['cordon', 'n1']);
  await kubectl(['uncordon', 'n1']);
  const lines = await eventsOf('node', 'n1');
  for (const wanted of [
    'Normal RegisteredNode node-controller Node n1 event: Registered Node n1 in Controller',
    'Normal NodeReady kubelet Node n1 status is now: NodeReady',
    'Normal NodeNotSchedulable kubelet Node n1 status is now: NodeNotSchedulable',
    'Normal NodeSchedulable kubelet Node n1 status is now: NodeSchedulable',
  ]) {
    assert.ok(lines.includes(wanted), `${wanted}\n${lines.join('\n')}`);
  }
});

test.run();
