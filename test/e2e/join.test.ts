/** Machines without Kubernetes: a controller on one of them, and two that join it by a bootstrap token, over TLS. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { NodeObject } from '../../src/api/types/objects.ts';
import { API_SOCKET } from '../../src/cluster/state.ts';
import { makeNamespaces, makeUnderlay } from '../../src/cluster/underlay.ts';
import { Cluster, eventually, MAIN, nodeNetns, podNetns, processPod, type Ran, run } from '../lib/cluster.ts';

const test = suite('join');
const OUTSIDE = 'dp-outside';
const API = '172.18.0.1:6443';
const MACHINES = [
  { name: 'm1', ip: '172.18.0.21', podCIDR: '' },
  { name: 'm2', ip: '172.18.0.22', podCIDR: '' },
];

const directory = mkdtempSync(join(tmpdir(), 'dataplane-join-'));
const kubeconfig = (node: string): string => join(directory, node, 'kubeconfig');
const cluster = new Cluster();
const logs = new Map<string, string>();
const running = new Map<string, ChildProcess>();

function start(name: string, netns: string, ...args: string[]): void {
  const child = spawn('nsenter', [`--net=/run/netns/${netns}`, process.execPath, MAIN, ...args], { stdio: 'pipe' });
  logs.set(name, '');
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => logs.set(name, logs.get(name) + text));
  }
  running.set(name, child);
}

async function stop(name: string): Promise<void> {
  const child = running.get(name);
  running.delete(name);
  if (child?.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

const startController = (): void =>
  start('controller', OUTSIDE, 'controller', '--listen', API, '--authorization', 'rbac');
const startAgent = (name: string): void =>
  start(
    name,
    nodeNetns(name),
    ...['agent', '--node', name, '--kubeconfig', kubeconfig(name), '--state', join(directory, name, 'state')],
  );

/** The command that `token create` prints, without `dataplane`. */
const invitation = async (...args: string[]): Promise<string[]> =>
  (await cluster.cli('token', 'create', ...args)).trim().split(' ').slice(1);

const joinAs = (machine: string, command: readonly string[], ...more: string[]): Promise<Ran> =>
  cluster.exec(nodeNetns(machine), [process.execPath, MAIN, ...command, ...more]);

test.before(async () => {
  await makeNamespaces(MACHINES);
  await makeUnderlay(MACHINES, '172.18.0.0/24', 1500);
  startController();
  await eventually(async () => (existsSync(API_SOCKET) ? true : undefined));
});
test.after(async () => {
  for (const name of [...running.keys()].reverse()) await stop(name);
  await cluster.down();
  rmSync(directory, { recursive: true, force: true });
});

test('the command that `token create` prints makes a machine a node: its kubeconfig is for root only', async () => {
  const command = await eventually(() => invitation('--description', 'two machines'));
  assert.match(
    command.join(' '),
    /^join 172\.18\.0\.1:6443 --token \S+ --discovery-token-ca-cert-hash sha256:[0-9a-f]{64}$/,
  );
  for (const { name } of MACHINES) {
    const { status, stdout, stderr } = await joinAs(name, command, '--node', name, '--kubeconfig', kubeconfig(name));
    assert.is(status, 0, stderr);
    assert.match(stdout, `node ${name} may join https://${API}`);
    assert.is(statSync(kubeconfig(name)).mode & 0o777, 0o600);
    startAgent(name);
  }
  for (const { name, ip } of MACHINES) {
    const node = await eventually(async () => {
      const now = await cluster.get<NodeObject>('node', name);
      const ready = now.status?.conditions?.find(({ type }) => type === 'Ready');
      return ready?.status === 'True' ? now : undefined;
    }, 30_000).catch((error: Error) => {
      throw new Error(`${error.message}: ${logs.get(name)}`);
    });
    assert.is(node.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address, ip);
  }
  assert.match(await cluster.cli('token', 'list'), /two machines/);
});

const SERVER = "require('http').createServer((q, r) => r.end(require('os').hostname())).listen(8080)";

test('pods of both machines reach each other by a Service, the outside a NodePort, and pods the API', async () => {
  await cluster.apply(
    processPod('server', 'm1', [process.execPath, '-e', SERVER]),
    processPod('client', 'm2', ['sleep', 'infinity']),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace: 'default' },
      spec: {
        type: 'NodePort',
        selector: { app: 'server' },
        ports: [{ port: 80, targetPort: 8080, nodePort: 30808 }],
      },
    },
  );
  const { spec } = await cluster.get<{ spec: { clusterIP: string } }>('service', 'web');
  const client = podNetns('client');
  const page = await eventually(() => cluster.fetch(client, `http://${spec.clusterIP}/`), 30_000);
  assert.is(page, 'server');
  for (const { ip } of MACHINES) {
    assert.is(await eventually(() => cluster.fetch(OUTSIDE, `http://${ip}:30808/`)), 'server');
  }
  assert.match(await cluster.fetch(client, 'https://10.96.0.1/version', '-k'), /gitVersion/);
});

test('the roles are enough for an agent', async () => {
  for (const { name } of MACHINES) assert.not.match(logs.get(name) as string, /forbidden/i);
});

test('agents follow what changes after the controller was killed and started again', async () => {
  await stop('controller');
  startController();
  await eventually(() => cluster.cli('delete', 'service', 'web'), 20_000);
  for (const { ip } of MACHINES) {
    const gone = await eventually(async () => {
      const { status } = await cluster.exec(OUTSIDE, ['curl', '-s', '--max-time', '1', `http://${ip}:30808/`]);
      return status === 0 ? undefined : true;
    });
    assert.ok(gone);
  }
});

test('each refusal is one line that says what to do', async () => {
  const command = await invitation('--ttl', '60');
  const [, , , token = '', , hash = ''] = command;
  const [id = ''] = token.split('.');
  const refused = async (expected: RegExp, status: number, changes: Record<string, string> = {}): Promise<void> => {
    const changed = command.map((word) => changes[word] ?? word);
    const ran = await joinAs('m1', changed, '--node', 'm3', '--kubeconfig', kubeconfig('m3'));
    assert.is(ran.status, status, ran.stderr);
    assert.match(ran.stderr, expected);
    assert.is(ran.stderr.trim().split('\n').length, 1, ran.stderr);
    assert.not.ok(existsSync(kubeconfig('m3')));
  };
  const other = `${id}.0123456789abcdef`;
  await refused(/token \w+ is not valid: make another one with `dataplane token create`/, 1, { [token]: other });
  await refused(/--token: expected a token/, 2, { [token]: 'secret' });
  const wrong = `sha256:${'0'.repeat(64)}`;
  await refused(/has the hash sha256:.*this is another cluster/, 1, { [hash]: wrong });
  await refused(/expected sha256: and 64/, 2, { [hash]: 'sha256:12' });
  await refused(/no answer of https:\/\/172\.18\.0\.1:7 \(.*ECONNREFUSED/, 1, { [API]: '172.18.0.1:7' });
  await refused(/expected HOST:PORT/, 2, { [API]: 'http://172.18.0.1' });
  const taken = await joinAs('m1', command, '--node', 'm2', '--kubeconfig', kubeconfig('m3'));
  assert.match(taken.stderr, /there is a Node m2: choose another name/);
  const again = await joinAs('m1', command, '--node', 'm3', '--kubeconfig', kubeconfig('m1'));
  assert.match(again.stderr, /exists: this machine has joined a cluster/);
  const [, , , expired = ''] = await invitation('--ttl', '1');
  await eventually(async () => (/<expired>/.test(await cluster.cli('token', 'list')) ? true : undefined));
  await refused(/token \w+ has expired: make another one/, 1, { [token]: expired });
  await cluster.cli('token', 'delete', id);
  await refused(/is not valid/, 1);
});

test('a controller that no other machine reaches makes no tokens', async () => {
  await stop('controller');
  const state = join(directory, 'alone');
  start('alone', OUTSIDE, 'controller', '--state', state);
  const env = { DATAPLANE_API: join(state, 'api.sock') };
  await eventually(async () => (existsSync(env.DATAPLANE_API) ? true : undefined));
  const { status, stderr } = await run([process.execPath, MAIN, 'token', 'create'], { env });
  assert.is(status, 1);
  assert.match(stderr, /other machines do not reach this cluster: start `dataplane controller --listen HOST:PORT`/);
});

test.run();
