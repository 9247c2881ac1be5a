/** kubectl logs, exec, attach, cp and port-forward, over WebSocket and over SPDY, as typed by its users. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, eventually, output, processPod, run, startCluster } from '../../lib/cluster.ts';
import { KUBECTL_ENV, kubectl, kubectlLine, spawnKubectl, tryKubectl, whyNoKubectl } from '../../lib/kubectl.ts';
import { testUnless } from '../../lib/test-unless.ts';

const COUNTER = 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.2; done';
const why = whyNoKubectl();
const kubectlTest = testUnless(why);

let cluster: Cluster;
test.before(async () => {
  if (why !== undefined) return;
  const two = processPod('two', 'n1', ['sh', '-c', COUNTER]) as { spec: { containers: object[] } };
  const loopback = ['python3', '-m', 'http.server', '8000', '--bind', '127.0.0.1'];
  two.spec.containers.push({ name: 'web', image: 'process', command: loopback });
  const shell = processPod('shell', 'n2', ['sh'], { stdin: true, tty: true });
  const reader = processPod('reader', 'n2', ['cat'], { stdin: true, stdinOnce: true }) as { spec: object };
  reader.spec = { ...reader.spec, restartPolicy: 'Never' };
  const crasher = processPod('crasher', 'n1', ['sh', '-c', 'echo last words; sleep 0.2; exit 3']);
  cluster = await startCluster({ manifests: [two, shell, reader] });
  await cluster.apply(crasher);
});
test.after(() => cluster?.down());

/** Both ways a client can connect. */
const TRANSPORTS: readonly { name: string; env: NodeJS.ProcessEnv }[] = [
  { name: 'WebSocket', env: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'true', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'true' } },
  { name: 'SPDY', env: { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' } },
];

kubectlTest('logs: the last lines, with times, since, with a limit', async () => {
  const lines = (text: string) => text.trim().split('\n');
  await eventually(async () => lines(await kubectl(['logs', 'two', '-c', 'main'])).length > 5 || undefined);
  const tail = lines(await kubectl(['logs', 'two', '-c', 'main', '--tail=2']));
  assert.is(tail.length, 2);
  assert.match(tail[1]!, /^line \d+$/);
  const stamped = lines(await kubectl(['logs', 'two', '-c', 'main', '--tail=3', '--timestamps']));
  const times = stamped.map((line) => Date.parse(line.split(' ')[0]!));
  for (const time of times) assert.ok(Math.abs(Date.now() - time) < 10_000, stamped.join());
  assert.ok(times[1]! - times[0]! > 100 && times[1]! - times[0]! < 1500, 'lines 0.2 s apart have times of their own');
  const all = lines(await kubectl(['logs', 'two', '-c', 'main']));
  const recent = lines(await kubectl(['logs', 'two', '-c', 'main', '--since=1s']));
  assert.ok(recent.length < all.length && recent.length >= 2, `${recent.length} of ${all.length}`);
  assert.is((await kubectl(['logs', 'two', '-c', 'main', '--limit-bytes=4'])).trim(), 'line');
});

kubectlTest('logs -f goes on with what is written', async () => {
  const child = spawnKubectl(['logs', '-f', 'two', '-c', 'main', '--tail=1']);
  let text = '';
  child.stdout!.on('data', (chunk) => {
    text += chunk;
  });
  await eventually(async () => text.split('\n').length > 4 || undefined);
  child.kill();
});

kubectlTest('logs --previous is the instance before; what cannot be shown is refused with the reason', async () => {
  await eventually(async () => {
    const text = await kubectl(['logs', 'crasher', '--previous']);
    return text === 'last words\n' || undefined;
  });
  const unknown = await tryKubectl(['logs', 'two', '-c', 'nobody']);
  assert.is(unknown.status, 1);
  assert.match(unknown.stderr, 'container nobody is not valid for pod two');
  assert.match(
    (await tryKubectl(['logs', 'two', '-c', 'main', '--previous'])).stderr,
    'previous terminated container "main"',
  );
  assert.match((await tryKubectl(['logs', 'missing'])).stderr, 'pods "missing" not found');
});

for (const { name, env } of TRANSPORTS) {
  kubectlTest(`exec over ${name}: output, errors and the exit code come back apart`, async () => {
    const ran = await tryKubectl(['exec', 'two', '-c', 'main', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7'], {
      env,
    });
    assert.is(ran.status, 7);
    assert.is(ran.stdout, 'out\n');
    assert.is(ran.stderr, 'err\ncommand terminated with exit code 7\n');
  });

  kubectlTest(`exec -i over ${name}: the command sees the end of its input, and 20 MB of it`, async () => {
    const args = ['exec', '-i', 'two', '-c', 'main', '--', 'cat'];
    assert.is(await kubectl(args, { env, input: 'hello' }), 'hello');
    const ran = await kubectl(['exec', '-i', 'two', '-c', 'main', '--', 'md5sum'], {
      env,
      input: 'x'.repeat(20_000_000),
    });
    assert.is(ran.split(' ')[0], createHash('md5').update('x'.repeat(20_000_000)).digest('hex'));
  });

  kubectlTest(`exec -it over ${name}: a terminal of the size of ours`, async () => {
    const line = `stty rows 33 cols 77; ${kubectlLine(['exec', '-it', 'two', '-c', 'main', '--'])} sh -c 'stty size; tty; exit 3'`;
    const ran = await run(['script', '-qec', line, '/dev/null'], { env: { ...KUBECTL_ENV, ...env } });
    assert.is(ran.status, 3, ran.stdout + ran.stderr);
    assert.match(ran.stdout, '33 77');
    assert.match(ran.stdout, '/dev/pts/');
  });

  kubectlTest(`port-forward over ${name} reaches what listens on the pod's 127.0.0.1 only`, async () => {
    const child = spawnKubectl(['port-forward', 'pod/two', ':8000'], env);
    let text = '';
    child.stdout!.on('data', (chunk) => {
      text += chunk;
    });
    const port = await eventually(async () => /127\.0\.0\.1:(\d+) ->/.exec(text)?.[1]);
    const fetch = () => output(run(['curl', '-sS', '--max-time', '5', `http://127.0.0.1:${port}/etc/hostname`]));
    const pages = await Promise.all(Array.from({ length: 20 }, fetch));
    for (const page of pages) assert.is(page, 'two\n');
    child.kill();
  });
}

kubectlTest('port-forward to a port where nobody listens says so', async () => {
  const child = spawnKubectl(['port-forward', 'pod/two', ':8009']);
  let text = '';
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (chunk) => {
      text += chunk;
    });
  }
  const port = await eventually(async () => /127\.0\.0\.1:(\d+) ->/.exec(text)?.[1]);
  await run(['curl', '-sS', '--max-time', '5', `http://127.0.0.1:${port}/`]);
  await eventually(async () => text.includes('connection refused') || undefined);
  child.kill();
});

kubectlTest('attach: what is typed reaches the container, and its end is ours', async () => {
  const child = spawn('sh', ['-c', `echo typed | ${kubectlLine(['attach', '-i', 'reader'])}`], {
    env: { ...process.env, ...KUBECTL_ENV },
  });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  const status = await new Promise((resolve) => child.on('close', resolve));
  assert.is(status, 0);
  assert.match(text, 'typed');
  await eventually(async () => {
    return (await kubectl(['get', 'pod', 'reader', '-o', 'jsonpath={.status.phase}'])) === 'Succeeded' || undefined;
  });
  assert.is(await kubectl(['logs', 'reader']), 'typed\n');
});

kubectlTest('attach -it: the terminal of a container that has one', async () => {
  const line = `stty rows 31 cols 71; ${kubectlLine(['attach', '-it', 'shell'])}`;
  const ran = await run(
    ['sh', '-c', `(sleep 1; echo 'stty size; exit 5'; sleep 2) | script -qec "${line}" /dev/null`],
    {
      env: KUBECTL_ENV,
    },
  );
  assert.match(ran.stdout, '31 71');
  assert.is(ran.status, 5, ran.stdout);
});

kubectlTest('cp: a file goes there and comes back the same', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dataplane-test-'));
  const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7919) & 0xff));
  writeFileSync(join(directory, 'there'), content);
  await kubectl(['cp', join(directory, 'there'), 'two:/tmp/file', '-c', 'main']);
  await kubectl(['cp', 'two:/tmp/file', join(directory, 'back'), '-c', 'main']);
  assert.ok(readFileSync(join(directory, 'back')).equals(content));
  rmSync(directory, { recursive: true });
});

kubectlTest('a command ends when its client is gone', async () => {
  const child = spawnKubectl(['exec', 'two', '-c', 'main', '--', 'sleep', '4242']);
  const sleeps = async () => (await run(['pgrep', '-fx', 'sleep 4242'])).stdout.trim();
  await eventually(async () => (await sleeps()) !== '' || undefined);
  child.kill('SIGKILL');
  await eventually(async () => (await sleeps()) === '' || undefined);
});

kubectlTest('get --raw by the proxy of a pod and of a service', async () => {
  const server = processPod('server', 'n2', ['python3', '-m', 'http.server', '8080']) as {
    spec: { containers: object[] };
  };
  server.spec.containers[0] = { ...server.spec.containers[0], ports: [{ name: 'http', containerPort: 8080 }] };
  const spec = { selector: { app: 'server' }, ports: [{ name: 'http', port: 80, targetPort: 'http' }] };
  await cluster.apply(server, { apiVersion: 'v1', kind: 'Service', metadata: { name: 'server' }, spec });
  const root = '/api/v1/namespaces/default';
  for (const path of ['pods/server:8080', 'pods/server', 'services/server:http', 'services/server']) {
    const page = () => kubectl(['get', '--raw', `${root}/${path}/proxy/etc/hostname`]);
    assert.is(await eventually(page), 'server\n', path);
  }
});

kubectlTest('a termination message is what the container wrote to its file, not its log', async () => {
  const pod = processPod('message', 'n1', [
    'sh',
    '-c',
    'echo logged; printf written > /dev/termination-log; exit 1',
  ]) as {
    spec: object;
  };
  const quiet = processPod('quiet', 'n1', ['sh', '-c', 'echo logged; exit 1']) as { spec: object };
  const fallback = processPod('fallback', 'n1', ['sh', '-c', 'echo logged; exit 1'], {
    terminationMessagePolicy: 'FallbackToLogsOnError',
  }) as { spec: object };
  for (const each of [pod, quiet, fallback]) each.spec = { ...each.spec, restartPolicy: 'Never' };
  await cluster.apply(pod, quiet, fallback);
  const path = 'jsonpath={.status.containerStatuses[0].state.terminated.message}';
  const ended = 'jsonpath={.status.phase}';
  for (const [name, message] of [
    ['message', 'written'],
    ['quiet', ''],
    ['fallback', 'logged\n'],
  ] as const) {
    await eventually(async () => (await kubectl(['get', 'pod', name, '-o', ended])) === 'Failed' || undefined);
    assert.is(await kubectl(['get', 'pod', name, '-o', path]), message, name);
  }
});

kubectlTest(
  "a claim's files outlive its pod, are seen by the next one on another node, and go with the claim",
  async () => {
    const claim = {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'data' },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
    };
    const user = (name: string, node: string, command: string, mount: object) => {
      const pod = processPod(name, node, ['sh', '-c', command], {
        volumeMounts: [{ name: 'data', mountPath: '/data', ...mount }],
      }) as { spec: object };
      const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }];
      pod.spec = { ...pod.spec, restartPolicy: 'Never', volumes };
      return pod;
    };
    const phase = (name: string, wanted: string) =>
      eventually(
        async () => (await kubectl(['get', 'pod', name, '-o', 'jsonpath={.status.phase}'])) === wanted || undefined,
      );
    await cluster.apply(
      claim,
      user('writer', 'n1', 'echo kept > /data/part/file', { mountPath: '/data/part', subPath: 'inner' }),
    );
    await phase('writer', 'Succeeded');
    const volume = await kubectl(['get', 'pvc', 'data', '-o', 'jsonpath={.spec.volumeName}']);
    const path = await kubectl(['get', 'pv', volume, '-o', 'jsonpath={.spec.hostPath.path}']);
    assert.is(readFileSync(join(path, 'inner/file'), 'utf8'), 'kept\n');
    assert.is(statSync(dirname(path)).mode & 0o777, 0o700, "claims' directories are private to root");
    await kubectl(['delete', 'pod', 'writer', '--now']);
    await cluster.apply(user('follower', 'n2', 'cat /data/inner/file; sleep 1000', {}));
    await eventually(async () => (await kubectl(['logs', 'follower'])) === 'kept\n' || undefined);
    assert.match(await kubectl(['describe', 'pvc', 'data']), /Used By: +follower/);
    await kubectl(['delete', 'pvc', 'data', '--wait=false']);
    assert.match(await kubectl(['get', 'pvc', 'data']), 'Terminating');
    assert.ok(existsSync(join(path, 'inner/file')), 'in use');
    await kubectl(['delete', 'pod', 'follower', '--now']);
    await eventually(() => Promise.resolve(!existsSync(path) || undefined));
  },
);

kubectlTest('top: what pods and nodes use now, also by container', async () => {
  const burner = processPod('burner', 'n1', ['sh', '-c', 'while :; do :; done']) as { spec: { containers: object[] } };
  await cluster.apply(burner);
  await kubectl(['wait', 'pod/burner', '--for=condition=Ready', '--timeout=20s']);
  const millis = await eventually(async () => {
    const line = (await kubectl(['top', 'pod', 'burner', '--no-headers'])).trim();
    return Number(/^burner +(\d+)m +\d+Mi$/.exec(line)?.[1]) || undefined;
  });
  assert.ok(millis > 100 && millis < 1500, `${millis}m of one busy process`);
  const containers = await kubectl(['top', 'pod', 'two', '--containers', '--no-headers']);
  assert.match(containers, /^two +main +\d+m +\d+Mi/m);
  assert.match(containers, /^two +web +\d+m +[1-9]\d*Mi/m);
  const nodes = await kubectl(['top', 'node', '--no-headers']);
  assert.match(nodes, /^n1 +\d{3,}m +\d+% +\d+Mi +\d+%/m);
  assert.match(nodes, /^n2 +\d+m +\d+% +\d+Mi +\d+%/m);
  assert.match((await tryKubectl(['top', 'pod', 'missing'])).stderr, 'NotFound');
  await kubectl(['delete', 'pod', 'burner', '--now']);
});

kubectlTest('autoscale: a busy Deployment gets more pods, and its autoscaler says why', async () => {
  const container = {
    name: 'main',
    image: 'process',
    command: ['sh', '-c', 'while :; do :; done'],
    resources: { requests: { cpu: '100m' } },
  };
  const labels = { app: 'busy' };
  await cluster.apply({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'busy' },
    spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers: [container] } } },
  });
  await kubectl(['rollout', 'status', 'deployment/busy', '--timeout=20s']);
  await kubectl(['autoscale', 'deployment', 'busy', '--min=1', '--max=2', '--cpu-percent=50']);
  await eventually(async () => {
    return (await kubectl(['get', 'deployment', 'busy', '-o', 'jsonpath={.spec.replicas}'])) === '2' || undefined;
  }, 40_000);
  const text = await kubectl(['describe', 'hpa', 'busy']);
  assert.match(text, 'SuccessfulRescale');
  assert.match(text, 'New size: 2; reason: cpu resource utilization (percentage of request) above target');
  assert.match(text, /ScalingActive +True +ValidMetricFound/);
  assert.match(await kubectl(['get', 'hpa', 'busy', '--no-headers']), /cpu: \d+%\/50% +1 +2 +/);
  await kubectl(['delete', 'hpa,deployment', 'busy', '--now']);
});

test.run();
