/** The command line against a cluster: up and down under all conditions, objects, pods. */
import { spawn } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { KubeObject, Pod, Service } from '../../src/api/types/objects.ts';
import {
  type Cluster,
  dataplane,
  eventually,
  MAIN,
  nodeNetns,
  podNetns,
  processPod,
  run,
  startCluster,
} from '../lib/cluster.ts';
import { leftovers } from '../lib/leftovers.ts';

const idle = (name: string, node?: string) => processPod(name, node, ['sleep', 'infinity']);
const yaml = (object: object) => JSON.stringify(object);

/** Escape sequences of colours (ECMA-48 SGR). */
const ESC = String.fromCharCode(27);
const COLOUR = new RegExp(`${ESC}\\[\\d+m`, 'g');
const RED_FAILURE = new RegExp(`${ESC}\\[31m(Error|CrashLoopBackOff)${ESC}\\[0m`);
const withoutColour = (text: string) => text.replace(COLOUR, '');

const lifecycle = suite('up and down');

lifecycle.after.each(async () => {
  await dataplane(['down']);
});

lifecycle('down succeeds when there is nothing', async () => {
  const { status, stdout } = await dataplane(['down']);
  assert.is(status, 0);
  assert.is(stdout, 'there was nothing to remove\n');
});

lifecycle('a usage error changes nothing', async () => {
  for (const args of [
    ['--nodes', '0'],
    ['--pod-cidr', '10.96.0.0/16'],
    ['--nods', '2'],
    ['--mtu', '80'],
  ]) {
    const { status, stderr } = await dataplane(['up', ...args]);
    assert.is(status, 2);
    assert.match(stderr, /^--\S+|^dataplane up/);
    assert.is(stderr.trim().split('\n').length, 1);
    assert.equal(leftovers(), []);
  }
});

lifecycle('a mistake in the last document changes nothing', async () => {
  const input = `${yaml(idle('a'))}\n---\n${yaml({ ...idle('b'), spec: { containers: 7 } })}`;
  const { status, stderr } = await dataplane(['up', '--nodes', '1', '-f', '-'], { input });
  assert.is(status, 1);
  assert.match(stderr, /^stdin: document 2: spec\.containers: expected .*, got 7$/m);
  assert.equal(leftovers(), []);
});

lifecycle('when the API refuses an object everything is removed again', async () => {
  const service = (name: string) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { type: 'NodePort', ports: [{ port: 80, nodePort: 31000 }] },
  });
  const { status, stderr } = await dataplane(['up', '--nodes', '1', '-f', '-'], {
    input: `${yaml(service('x'))}\n---\n${yaml(service('y'))}`,
  });
  assert.is(status, 1);
  assert.match(stderr, 'document 2: service/y:');
  assert.match(stderr, 'provided port is already allocated');
  assert.equal(leftovers(), []);
});

lifecycle('what does not become Ready is named with its last line, and everything is removed', async () => {
  const input = yaml(processPod('sad', undefined, ['sh', '-c', 'echo out of luck; exit 3']));
  const { status, stderr } = await dataplane(['up', '--nodes', '1', '--wait=12', '-f', '-'], { input });
  assert.is(status, 1);
  assert.match(stderr, /Pod sad \((Error|CrashLoopBackOff): container main ended with status 3: out of luck\)/);
  assert.equal(leftovers(), []);
});

const failing = (name: string) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: { containers: [{ name: 'main', image: 'process', command: ['sh', '-c', 'echo no database; exit 4'] }] },
    },
  },
});

lifecycle(
  'a Deployment that is not Ready: each pod with its reason and last lines; --keep-on-failure keeps it',
  async () => {
    const args = ['up', '--nodes', '1', '--timeout', '12', '--keep-on-failure', '-f', '-'];
    const { status, stderr } = await dataplane(args, { input: yaml(failing('web')) });
    assert.is(status, 1);
    assert.match(
      stderr,
      /Deployment web \(0 of 2 pods are ready\): the cluster was left up; `dataplane down` removes it$/m,
    );
    const reason = /^ {2}Pod web-\S+ \((Error|CrashLoopBackOff): container main ended with status 4: no database\)$/gm;
    assert.is(stderr.match(reason)?.length, 2, stderr);
    assert.match(stderr, /^ {4}main \| no database$/m);
    const { items } = JSON.parse((await dataplane(['get', 'pods', '-o', 'json'])).stdout);
    assert.is(items.length, 2);
  },
);

lifecycle(
  '--no-wait returns before anything is Ready; apply --wait returns when it is, and says what is not',
  async () => {
    const slow = processPod('slow', undefined, ['sh', '-c', 'sleep 3; touch /tmp/up; exec sleep 1000']);
    const probed = {
      ...slow.spec.containers[0],
      readinessProbe: { exec: { command: ['cat', '/tmp/up'] }, periodSeconds: 1 },
    };
    const input = yaml({ ...slow, spec: { ...slow.spec, containers: [probed] } });
    const isReady = async () => {
      const { stdout } = await dataplane(['get', 'pod', 'slow', '-o', 'json']);
      const { conditions = [] } = JSON.parse(stdout).status ?? {};
      return conditions.some(
        ({ type, status }: { type: string; status: string }) => type === 'Ready' && status === 'True',
      );
    };
    assert.is((await dataplane(['up', '--nodes', '1', '--no-wait', '-f', '-'], { input })).status, 0);
    assert.not.ok(await isReady());
    assert.is((await dataplane(['apply', '--wait', '-f', '-'], { input })).status, 0);
    assert.ok(await isReady());
    const sad = await dataplane(['apply', '--wait=5', '-f', '-'], { input: yaml(failing('web')) });
    assert.is(sad.status, 1);
    assert.match(sad.stderr, /Deployment web \(0 of 2 pods are ready\): everything that was applied stays as it is$/m);
    assert.match(sad.stderr, /^ {4}main \| no database$/m);
    assert.is((await dataplane(['get', 'deployment', 'web'])).status, 0);
  },
);

lifecycle('contradicting options of waiting are refused, and nothing is changed', async () => {
  for (const options of [
    ['--no-wait', '--wait'],
    ['--no-wait', '--wait-for-jobs'],
    ['--wait=5', '--timeout', '6'],
  ]) {
    const { status, stderr } = await dataplane(['up', ...options]);
    assert.is(status, 2, options.join(' '));
    assert.match(stderr, /exclude each other|contradict each other/);
  }
  assert.equal(leftovers(), []);
});

lifecycle('Ctrl-C at any moment leaves nothing', async () => {
  for (const afterMs of [150, 300, 450, 600, 800]) {
    const child = spawn(process.execPath, [MAIN, 'up', '-f', '-'], {
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    child.stdin.end(yaml(idle('a')));
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    await sleep(afterMs);
    child.kill('SIGINT');
    if ((await ended) === 0) await dataplane(['down']);
    assert.equal(leftovers(), [], `${afterMs} ms after the start`);
  }
});

lifecycle('a second up is refused and leaves the first alone', async () => {
  const cluster = await startCluster({ args: ['--nodes', '1'] });
  const { status, stderr } = await dataplane(['up']);
  assert.is(status, 1);
  assert.match(stderr, 'a cluster is already up');
  assert.is((await cluster.status()).nodes.length, 1);
  await cluster.down();
});

lifecycle('down works after kill -9 of everything, and when the state is lost', async () => {
  for (const loseState of [false, true]) {
    const cluster = await startCluster({ manifests: [idle('a', 'n1'), idle('b', 'n2')] });
    const { controller, nodes } = await cluster.status();
    process.kill(controller.pid, 'SIGKILL');
    for (const { agentPid } of nodes) if (!loseState) process.kill(agentPid!, 'SIGKILL');
    if (loseState) rmSync('/run/dataplane', { recursive: true });
    const again = await dataplane(['up']);
    assert.is(again.status, 1);
    assert.match(again.stderr, '`dataplane down` removes it');
    await cluster.down(); // Throws when something is left.
  }
});

lifecycle.run();

const commands = suite('commands');
let cluster: Cluster;

commands.before(async () => {
  cluster = await startCluster({ manifests: [idle('a', 'n1')] });
});
commands.after(() => cluster.down());

commands('status shows nodes, agents, workers and the overlay', async () => {
  const { nodes } = await cluster.status();
  assert.equal(
    nodes.map(({ name, ip, podCIDR, ready }) => ({ name, ip, podCIDR, ready })),
    [
      { name: 'n1', ip: '172.18.0.11', podCIDR: '10.244.1.0/24', ready: true },
      { name: 'n2', ip: '172.18.0.12', podCIDR: '10.244.2.0/24', ready: true },
    ],
  );
  for (const node of nodes) {
    assert.ok(node.agentPid! > 1);
    assert.ok(node.workers.every(({ threadState }) => threadState === 'running' || threadState === 'sleeping'));
    assert.equal([node.overlay.mode, node.overlay.mtu, node.conntrack.max], ['vxlan', 1450, 262144]);
  }
});

commands('apply prints created, configured or unchanged', async () => {
  const map = (value: string) =>
    yaml({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'm' }, data: { key: value } });
  const apply = async (input: string) => (await dataplane(['apply', '-f', '-'], { input })).stdout;
  assert.is(await apply(map('1')), 'configmap/m created\n');
  assert.is(await apply(map('1')), 'configmap/m unchanged\n');
  assert.is(await apply(map('2')), 'configmap/m configured\n');
  const object = JSON.parse(await cluster.cli('get', 'configmap', 'm', '-o', 'json')) as KubeObject;
  assert.is(object.metadata.managedFields, undefined, 'left out, as kubectl does');
  const path = 'http://api/api/v1/namespaces/default/configmaps/m';
  const raw = await cluster.exec(nodeNetns('n1'), ['curl', '-s', '--unix-socket', '/run/dataplane/api.sock', path]);
  const owners = (JSON.parse(raw.stdout) as KubeObject).metadata.managedFields;
  assert.equal(
    owners?.map(({ manager, operation, fieldsV1 }) => [manager, operation, Object.keys(fieldsV1 ?? {})]),
    [['dataplane', 'Update', ['f:data', 'f:metadata']]],
  );
  assert.is(await cluster.cli('delete', 'configmap', 'm'), 'configmap "m" deleted\n');
});

commands('apply and its dry run warn about an image that is in no catalogue', async () => {
  const input = yaml({ ...idle('x'), spec: { containers: [{ name: 'c', image: 'nobody/has-this:1' }] } });
  const { status, stdout, stderr } = await dataplane(['apply', '--dry-run', '-f', '-'], { input });
  assert.equal([status, stdout], [0, 'pod/x created (dry run)\n']);
  assert.match(
    stderr,
    /^Warning: stdin: document 1: container c: image "nobody\/has-this:1" is neither loaded nor in the catalogue/,
  );
});

commands('get prints tables, objects and lists', async () => {
  const lines = (await cluster.cli('get', 'pods', '-o', 'wide')).split('\n');
  assert.match(lines[0]!, /^NAME +READY +STATUS +RESTARTS +AGE +IP +NODE +NOMINATED NODE +READINESS GATES$/);
  assert.match(lines[1]!, /^a +1\/1 +Running +0 +\S+ +10\.244\.1\.2 +n1 +<none> +<none>$/);
  const list = await cluster.get<{ kind: string; items: Pod[] }>('po');
  assert.is(list.kind, 'List');
  assert.equal(
    list.items.map(({ metadata }) => metadata.name),
    ['a'],
  );
  assert.is((await cluster.get<Pod>('pod/a')).status?.podIP, '10.244.1.2');
  assert.is(await cluster.cli('get', 'po,no', '-o', 'name'), 'pod/a\nnode/n1\nnode/n2\n');
});

commands('on a terminal of 80 columns every line fits, and problems are coloured', async () => {
  const onTerminal = (command: string) =>
    run(['script', '-qec', `stty cols 80; ${process.execPath} ${MAIN} ${command}`, '/dev/null'], {
      env: { TERM: 'xterm', NO_COLOR: '' },
    });
  if ((await run(['sh', '-c', 'command -v script'])).status !== 0) return;
  await cluster.apply(processPod('broken', 'n2', ['sh', '-c', 'exit 3']));
  await eventually(async () => (/Error|CrashLoop/.test(await cluster.cli('get', 'pods')) ? true : undefined));
  for (const command of ['get pods -A -o wide', 'get svc,ep -o wide', 'get nodes -o wide', 'status', 'up --help']) {
    const { stdout, status } = await onTerminal(command);
    assert.is(status, 0, stdout);
    for (const line of withoutColour(stdout).split(/\r?\n/)) assert.ok(line.length <= 80, `${command}: ${line}`);
  }
  assert.match((await onTerminal('get pods')).stdout, RED_FAILURE);
  await cluster.cli('delete', 'pod', 'broken');
});

commands('an object that does not exist is an error with the text of the API', async () => {
  const { status, stderr } = await dataplane(['get', 'pod', 'nobody']);
  assert.equal([status, stderr], [1, 'Error from server (NotFound): pods "nobody" not found\n']);
});

commands('describe shows events', async () => {
  assert.match(
    await cluster.cli('describe', 'pod', 'a'),
    /Events:\n +Type +Reason +Age +From +Message\n(.*\n)+?.*Scheduled/,
  );
});

commands('expose creates a service that selects the pod by its labels', async () => {
  await cluster.cli('expose', 'pod', 'a', '--type', 'NodePort', '--port', '80', '--node-port', '31419');
  const service = await cluster.get<Service>('service', 'a');
  assert.equal(service.spec.selector, { app: 'a' });
  assert.equal(service.spec.ports, [{ protocol: 'TCP', port: 80, targetPort: 80, nodePort: 31419 }]);
  await cluster.cli('delete', 'svc', 'a');
});

commands('exec runs the command after --, and exits with its status', async () => {
  assert.is((await dataplane(['exec', 'a', '--', 'sh', '-c', 'exit 7'])).status, 7);
  assert.is(await cluster.cli('exec', 'a', '--', 'hostname'), 'a\n');
  assert.is((await dataplane(['exec', '-i', 'a', '--', 'cat'], { input: 'through\n' })).stdout, 'through\n');
});

commands('logs of the current and the previous instance, and restart', async () => {
  await cluster.apply(processPod('talker', 'n2', ['sh', '-c', 'echo one; echo two; sleep infinity']));
  await eventually(async () => ((await cluster.cli('logs', 'talker')) === 'one\ntwo\n' ? true : undefined));
  assert.is(await cluster.cli('logs', 'talker', '--tail', '1'), 'two\n');
  const ip = (await cluster.get<Pod>('pod', 'talker')).status?.podIP;
  await cluster.cli('restart', 'talker', '-c', 'main');
  await eventually(async () => {
    const { status } = await cluster.get<Pod>('pod', 'talker');
    return status?.containerStatuses?.[0]?.restartCount === 1 && status.podIP === ip ? true : undefined;
  });
  assert.match(await cluster.cli('logs', 'talker', '--previous'), /^one\ntwo\n/);
  await cluster.cli('delete', 'pod', 'talker');
});

commands('conntrack lists, filters, counts and flushes', async () => {
  await cluster.exec('dp-outside', ['ping', '-c', '1', '-W', '1', '10.244.1.2']);
  await cluster.apply(idle('b', 'n2'));
  await eventually(async () =>
    (await cluster.get<Pod>('pod', 'b')).status?.conditions?.find((c) => c.type === 'Ready' && c.status === 'True'),
  );
  const ping = await cluster.exec(podNetns('b'), ['ping', '-c', '1', '-W', '2', '10.244.1.2']);
  assert.is(ping.status, 0, ping.stdout);
  const flows = JSON.parse(await cluster.cli('conntrack', 'list', '-p', 'icmp', '-s', '10.244.2.0/24', '-o', 'json'));
  assert.equal(
    flows.map((flow: { node: string }) => flow.node),
    ['n1', 'n2'],
  );
  assert.equal([flows[0].protocol, flows[0].original.dst, flows[0].packets], ['icmp', '10.244.1.2', [1, 1]]);
  assert.equal(JSON.parse(await cluster.cli('conntrack', '-p', 'udp', '-o', 'json')), []);
  assert.match(await cluster.cli('conntrack', 'count', '--node', 'n2', '-p', 'icmp'), /n2 +1 +262144/);
  assert.match(await cluster.cli('conntrack', 'count', '--node', 'n2', '-p', 'sctp'), /n2 +0 +262144/);
  assert.is(await cluster.cli('conntrack', 'flush', '--node', 'n2', '-p', 'icmp'), '1 connection removed\n');
  assert.match(await cluster.cli('conntrack', 'count', '--node', 'n2'), /n2 +0 +262144/);
});

commands('config changes options of a running cluster, and a restarted controller keeps them', async () => {
  assert.match(await cluster.cli('config'), /^port-policy +open$/m);
  const set = await cluster.cli('config', 'set', 'conntrack-timeout.icmp=77', 'port-policy=declared');
  assert.match(set, /^port-policy +declared$/m);
  assert.match(set, /^conntrack-timeout\.icmp +77$/m);
  await eventually(async () => {
    await cluster.exec(podNetns('a'), ['ping', '-c', '1', '-W', '1', '172.18.0.1']);
    const flows = JSON.parse(await cluster.cli('conntrack', '--node', 'n1', '-p', 'icmp', '-o', 'json'));
    return flows.some(({ timeoutSeconds }: { timeoutSeconds: number }) => timeoutSeconds > 60) ? true : undefined;
  });
  const file = JSON.parse(readFileSync('/run/dataplane/cluster.json', 'utf8'));
  assert.equal(file.options.conntrackTimeouts, { icmp: 77 });
  for (const [text, message] of [
    ['pod-cidr=10.0.0.0/16', /^pod-cidr cannot change while the cluster is up/],
    ['conntrack-timeout.udpp=1', /did you mean udp\?/],
    ['port-policy=closed', /expected open or declared/],
    ['x=1', /there is no option "x"/],
  ] as const) {
    const { status, stderr } = await dataplane(['config', 'set', text]);
    assert.is(status, 2);
    assert.match(stderr, message);
  }
  await cluster.cli('config', 'set', 'port-policy=open');
});

commands('errors in a manifest have the name of the file', async () => {
  const path = '/tmp/dataplane-cli-test.yaml';
  writeFileSync(
    path,
    'kind: Pod\napiVersion: v1\nmetadata: {name: x}\nspec: {containers: [{name: c, image: process, port: 1}]}\n',
  );
  const { status, stderr } = await dataplane(['apply', '-f', path]);
  rmSync(path);
  assert.equal(
    [status, stderr],
    [1, `${path}: document 1: spec.containers[0].port: unknown field; did you mean "ports"?\n`],
  );
});

commands.run();
