/** kubectl debug: an ephemeral container in a running pod, one that sees another's processes, and a copy of a pod. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, eventually, processPod, run, startCluster } from '../../lib/cluster.ts';
import { KUBECTL_ENV, kubectl, kubectlLine, tryKubectl, whyNoKubectl } from '../../lib/kubectl.ts';
import { testUnless } from '../../lib/test-unless.ts';

const why = whyNoKubectl();
const kubectlTest = testUnless(why);

let cluster: Cluster;
test.before(async () => {
  if (why !== undefined) return;
  const once = processPod('once', 'n1', ['sh', '-c', 'until [ -e /proc/1/root/tmp/go ]; do sleep 0.1; done']);
  (once as { spec: object }).spec = { ...once.spec, restartPolicy: 'Never' };
  const pair = processPod('pair', 'n1', ['sleep', '4711']) as { spec: object };
  const second = { name: 'second', image: 'process', command: ['sh', '-c', 'sleep 4712 & wait'] };
  pair.spec = { ...processPod('', 'n1', []).spec, shareProcessNamespace: true };
  (pair.spec as { containers: object[] }).containers = [
    { name: 'main', image: 'process', command: ['sleep', '4711'] },
    second,
  ];
  cluster = await startCluster({ manifests: [processPod('web', 'n1', ['sleep', '4710']), once, pair] });
});
test.after(() => cluster?.down());

const field = (pod: string, path: string) => kubectl(['get', 'pod', pod, '-o', `jsonpath={${path}}`]);
const ephemeral = (name: string) => `.status.ephemeralContainerStatuses[?(@.name=="${name}")].state`;
const debug = (pod: string, name: string, more: readonly string[], ...command: string[]) =>
  kubectl(['debug', `pod/${pod}`, '--image=busybox', '--container', name, ...more, '--', ...command]);

kubectlTest('a debug container is in the network of the pod, and has processes of its own', async () => {
  await debug('web', 'plain', [], 'sh', '-c', 'cat /proc/1/cmdline | tr "\\0" " "; ip -4 -o address show eth0; exit 3');
  const ended = await eventually(
    async () => (await field('web', `${ephemeral('plain')}.terminated.exitCode`)) || undefined,
  );
  assert.is(ended, '3');
  const log = await kubectl(['logs', 'web', '-c', 'plain']);
  assert.match(log, /^sh -c /);
  assert.match(log, await field('web', '.status.podIP'));
  assert.is(await field('web', '.status.containerStatuses[0].restartCount'), '0', 'the pod goes on');
  const text = await kubectl(['describe', 'pod', 'web']);
  assert.match(text, /Ephemeral Containers:\n +plain:/);
  assert.match(text, /Started +.*plain/);
});

kubectlTest('with --target it sees the processes of that container, and its files', async () => {
  const command = 'tr "\\0" " " < /proc/1/cmdline; cat /proc/1/root/etc/hostname; sleep 4713 & sleep 4714';
  await debug('web', 'aimed', ['--target=main'], 'sh', '-c', command);
  const log = await eventually(async () => {
    const text = await kubectl(['logs', 'web', '-c', 'aimed']);
    return text.includes('\n') ? text : undefined;
  });
  assert.is(log, 'sleep 4710 web\n');
  assert.match(await kubectl(['exec', 'web', '-c', 'aimed', '--', 'ps', '-e']), /sleep/);
});

kubectlTest('a container that shares processes leaves none of them behind when it ends', async () => {
  const sleeps = async () => (await run(['pgrep', '-fx', 'sleep 471[34]'])).stdout.trim().split('\n');
  assert.is((await sleeps()).length, 2);
  const [foreground] = (await run(['pgrep', '-fx', 'sleep 4714'])).stdout.trim().split('\n');
  await run(['kill', foreground!]);
  await eventually(async () => (await sleeps()).join() === '' || undefined);
  assert.match(
    await eventually(async () => (await field('web', `${ephemeral('aimed')}.terminated`)) || undefined),
    'exitCode',
  );
  assert.match(await field('web', '.status.containerStatuses[0].state'), 'running', 'its target goes on');
});

kubectlTest('debug -it attaches a terminal to it', async () => {
  const line = kubectlLine(['debug', 'web', '-it', '--image=busybox', '--container', 'terminal', '--', 'sh']);
  const typed = `(sleep 3; echo 'tty; echo pid=$$'; echo 'exit 4'; sleep 2) | script -qec "${line}" /dev/null`;
  const { stdout } = await run(['sh', '-c', typed], { env: KUBECTL_ENV });
  assert.match(stdout, '/dev/pts/');
  assert.match(stdout, 'pid=');
  assert.is(
    await eventually(async () => (await field('web', `${ephemeral('terminal')}.terminated.exitCode`)) || undefined),
    '4',
  );
});

kubectlTest('a debug container of an image that is not there waits, with the reason, and harms nothing', async () => {
  await kubectl(['debug', 'pod/web', '--image=nowhere.example/no:1', '--container', 'absent', '--', 'true']);
  const waiting = await eventually(
    async () => (await field('web', `${ephemeral('absent')}.waiting.reason`)) || undefined,
  );
  assert.match(waiting, /ContainerCreating|ErrImagePull|ImagePullBackOff/);
  assert.is(await field('web', '.status.conditions[?(@.type=="Ready")].status'), 'True');
});

kubectlTest('debug containers end with the pod, which does not wait for them', async () => {
  await debug('once', 'watcher', [], 'sleep', '4715');
  await eventually(async () => (await field('once', `${ephemeral('watcher')}.running`)) || undefined);
  await kubectl(['exec', 'once', '--', 'touch', '/tmp/go']);
  await kubectl(['wait', 'pod/once', '--for=jsonpath={.status.phase}=Succeeded', '--timeout=10s']);
  await eventually(async () => (await field('once', `${ephemeral('watcher')}.terminated`)) || undefined);
  const late = await tryKubectl(['debug', 'pod/once', '--image=busybox', '--container', 'late', '--', 'true']);
  assert.is(late.status, 0, late.stderr);
  assert.match(await field('once', ephemeral('late')), 'waiting');
});

kubectlTest('debug --copy-to: the copy runs another command and shares the processes of its containers', async () => {
  const copy = ['debug', 'web', '--copy-to=web-copy', '--container=main', '--share-processes', '--', 'sleep', '4716'];
  await kubectl(copy);
  await kubectl(['wait', 'pod/web-copy', '--for=condition=Ready', '--timeout=20s']);
  const processes = await kubectl(['exec', 'web-copy', '--', 'sh', '-c', 'cat /proc/[0-9]*/cmdline | tr "\\0" " "']);
  assert.match(processes, 'sleep 4716');
  assert.match(processes, 'infinity');
  assert.not.equal(await field('web-copy', '.status.podIP'), await field('web', '.status.podIP'));
});

kubectlTest(
  'debug node/n1: a pod in the network of the node, with the processes and the files of the machine',
  async () => {
    const look = `cat /proc/${process.pid}/comm; chroot /host cat /proc/sys/kernel/ostype; ip -4 -o address; ls /host/run/dataplane`;
    const said = await kubectl(['debug', 'node/n1', '--image=busybox', '--', 'sh', '-c', `${look}; exit 5`]);
    const name = /node-debugger-n1-\w+/.exec(said)?.[0] ?? '';
    await kubectl(['wait', `pod/${name}`, '--for=jsonpath={.status.phase}=Failed', '--timeout=20s']);
    assert.is(await field(name, '.status.containerStatuses[0].state.terminated.exitCode'), '5');
    const log = await kubectl(['logs', name]);
    assert.equal(log.split('\n').slice(0, 2), ['node', 'Linux']);
    assert.match(log, await field(name, '.status.hostIP'));
    assert.match(log, 'cluster.json');
    assert.is(await field(name, '.status.podIP'), await field(name, '.status.hostIP'));
    await kubectl(['delete', 'pod', name]);
  },
);

kubectlTest(
  'what a pod with the processes of the machine leaves behind is ended with it, and nothing else',
  async () => {
    const manifest = {
      ...processPod('outer', 'n1', []),
      spec: {
        ...processPod('', 'n1', ['sh', '-c', 'sleep 4717 & exec sleep 4718']).spec,
        hostPID: true,
        hostIPC: true,
      },
    };
    await kubectl(['apply', '-f', '-'], { input: JSON.stringify(manifest) });
    await kubectl(['wait', 'pod/outer', '--for=condition=Ready', '--timeout=20s']);
    const sleeps = async () => (await run(['pgrep', '-fx', 'sleep 471[078]'])).stdout.trim().split('\n').length;
    // The pod is Ready when its shell runs, which then starts both.
    await eventually(async () => ((await sleeps()) === 3 ? true : undefined));
    await kubectl(['delete', 'pod', 'outer', '--grace-period=1']);
    assert.is(await sleeps(), 1, 'the process of another pod goes on');
  },
);

kubectlTest('shareProcessNamespace: containers see and signal each other; process 1 keeps no zombies', async () => {
  const ps = () => kubectl(['exec', 'pair', '-c', 'main', '--', 'ps', '-eo', 'stat,args']);
  assert.match(await ps(), 'sleep 4712');
  await kubectl(['exec', 'pair', '-c', 'main', '--', 'pkill', '-KILL', '-fx', 'sh -c sleep 4712 & wait']);
  await eventually(async () => (await field('pair', '.status.containerStatuses[1].restartCount')) === '1' || undefined);
  const after = await ps();
  assert.not.match(after, /^Z/m);
  assert.is(after.split('\n').filter((line) => line.endsWith('sleep 4712')).length, 1, after);
  assert.is(await field('pair', '.status.containerStatuses[0].restartCount'), '0');
});

test.run();
