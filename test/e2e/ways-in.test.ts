/** From the host into the cluster: programs run inside, published ports, port-forward; and the state as files. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, dataplane, eventually, output, processPod, run, startCluster } from '../lib/cluster.ts';

const test = suite('ways in');
let cluster: Cluster;
let directory: string;

const HTTP = "require('http').createServer((q, r) => r.end(require('os').hostname() + ' ' + q.socket.remoteAddress))";
const serveAt = (where: string) => [process.execPath, '-e', `${HTTP}.listen(${where})`];
const PUBLISHED = 'http://127.0.0.1:18080/';

test.before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'ways-in-'));
  const service = (name: string, spec: object) => ({ apiVersion: 'v1', kind: 'Service', metadata: { name }, spec });
  cluster = await startCluster({
    args: ['--nodes', '2', '--publish', '18080:svc/web:http', '--publish', '127.0.0.1:18081:svc/later:80'],
    manifests: [
      service('web', { selector: { app: 'server' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] }),
      processPod('server', 'n2', serveAt('8080')),
      processPod('hidden', 'n1', serveAt("5000, '127.0.0.1'")),
      { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'password' }, stringData: { key: 'correct horse' } },
    ],
  });
});
test.after(async () => {
  await cluster?.down();
  rmSync(directory, { recursive: true, force: true });
});

const curl = (url: string, ...args: string[]) => run(['curl', '-sS', '--max-time', '5', ...args, url]);

test('run: a program of the host in the network of outside, a node or a pod, its status passed on', async () => {
  const addresses = async (...args: string[]) => output(dataplane(['run', ...args, '--', 'ip', '-4', '-o', 'address']));
  assert.match(await addresses(), '172.18.0.1/24');
  assert.match(await addresses('--from', 'node/n2'), '172.18.0.12/24');
  const { status } = await cluster.get<{ status: { podIP: string } }>('pod', 'server');
  assert.match(await addresses('--from', 'pod/server'), `${status.podIP}/`);
  assert.is((await dataplane(['run', '--', 'sh', '-c', 'exit 7'])).status, 7);
  assert.is((await dataplane(['run', '--', 'sh', '-c', 'kill -TERM $$'])).status, 143);
});

test('run --from a pod resolves names as the pod does; the host keeps its own resolv.conf', async () => {
  const before = existsSync('/etc/resolv.conf') && readFileSync('/etc/resolv.conf', 'utf8');
  const page = await output(dataplane(['run', '--from', 'pod/hidden', '--', 'curl', '-sS', 'http://web/']));
  assert.match(page, /^server /);
  assert.is(existsSync('/etc/resolv.conf') && readFileSync('/etc/resolv.conf', 'utf8'), before);
});

test('run --junit writes the outcome as a report', async () => {
  const report = join(directory, 'report.xml');
  assert.is((await dataplane(['run', '--junit', report, '--', 'false'])).status, 1);
  assert.match(readFileSync(report, 'utf8'), /failures="1"[\s\S]*<failure message="exit status 1"\/>/);
});

test('run: what does not exist is an error that says so', async () => {
  for (const [args, message] of [
    [['run', '--from', 'pod/nobody', '--', 'true'], /pod nobody has no network namespace on this machine/],
    [['run', '--from', 'node/n9', '--', 'true'], /there is no node n9 on this machine: there are n1, n2/],
    [['run', '--from', 'svc/web', '--', 'true'], /expected outside, node\/NAME or pod\/NAME/],
    [['run'], /the program is missing/],
  ] as const) {
    const { status, stderr } = await dataplane(args);
    assert.ok(status !== 0);
    assert.match(stderr, message);
  }
});

test('a published port leads to the Service, by its own data plane', async () => {
  const { stdout } = await eventually(async () => {
    const fetched = await curl(PUBLISHED);
    return fetched.status === 0 ? fetched : undefined;
  });
  assert.match(stdout, /^server /);
  const flows = await cluster.cli('conntrack', 'list', '-p', 'tcp', '--dport', '80', '-o', 'json');
  assert.ok((JSON.parse(flows) as unknown[]).length > 0, 'no connection to the Service is tracked');
});

test('a published port whose Service does not exist yet resets clients, and works once it does', async () => {
  const url = 'http://127.0.0.1:18081/';
  assert.is((await curl(url)).status, 56, 'curl 56: connection reset');
  const ports = [{ port: 80, targetPort: 8080 }];
  const spec = { selector: { app: 'server' }, ports };
  await cluster.apply({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'later' }, spec });
  await eventually(async () => ((await curl(url)).status === 0 ? true : undefined));
});

test('a published port survives the death of the controller', async () => {
  const { controller } = await cluster.status();
  process.kill(controller.pid, 'SIGKILL');
  await eventually(async () => ((await curl(PUBLISHED)).status === 0 ? true : undefined));
});

test('up --publish with a port in use, or of another form, changes nothing', async () => {
  const server = createServer();
  const port = await new Promise<number>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
  });
  try {
    const taken = await dataplane(['up', '--publish', `${port}:svc/web`]);
    assert.is(taken.status, 1);
    assert.match(taken.stderr, `--publish 127.0.0.1:${port}: the port is in use`);
  } finally {
    server.close();
  }
  const wrong = await dataplane(['up', '--publish', '80:web:80']);
  assert.is(wrong.status, 2);
  assert.match(wrong.stderr, 'expected [HOST:]PORT:svc/NAME[:PORT]');
});

test('port-forward reaches what listens on the pod’s loopback alone, and ends with the pod', async () => {
  const child = run([process.execPath, 'dist/bundle/cli/main.js', 'port-forward', 'pod/hidden', '18082:5000']);
  const { stdout } = await eventually(async () => {
    const fetched = await curl('http://127.0.0.1:18082/');
    return fetched.status === 0 ? fetched : undefined;
  });
  assert.is(stdout, 'hidden 127.0.0.1');
  await cluster.cli('delete', 'pod', 'hidden');
  const ended = await child;
  assert.is(ended.status, 1);
  assert.match(ended.stdout, /Forwarding from 127\.0\.0\.1:18082 -> 5000\n/);
  assert.match(ended.stdout, /Handling connection for 18082\n/);
  assert.match(ended.stderr, /lost connection to pod hidden/);
});

test('port-forward to a Service takes the port behind the Service’s', async () => {
  const child = cluster.startHere(['port-forward', 'svc/web', '18083:http']);
  try {
    const fetched = await eventually(async () => {
      const { status, stdout } = await curl('http://127.0.0.1:18083/');
      return status === 0 ? stdout : undefined;
    });
    assert.match(fetched, /^server /);
  } finally {
    child.kill('SIGTERM');
  }
  const { status, stderr } = await dataplane(['port-forward', 'svc/web', '18084:81']);
  assert.is(status, 1);
  assert.match(stderr, 'Service web does not have a service port 81');
});

test('collect writes the state of the cluster, without the values of Secrets', async () => {
  const into = join(directory, 'collected');
  await cluster.cli('collect', '-o', into);
  const files = (readdirSync(into, { recursive: true }) as string[]).sort();
  for (const file of [
    'controller.log',
    'events.txt',
    'host.txt',
    'nodes/n1/agent.log',
    'nodes/n1/connections.json',
    'nodes/n2/nftables.txt',
    'nodes/n2/routes.txt',
    'objects/secrets.yaml',
    'objects/services.yaml',
    'pods/default/server/describe.txt',
    'status.json',
  ])
    assert.ok(files.includes(file), `${file} is missing among\n${files.join('\n')}`);
  if (files.includes('missing.txt')) assert.unreachable(readFileSync(join(into, 'missing.txt'), 'utf8'));
  const secrets = readFileSync(join(into, 'objects/secrets.yaml'), 'utf8');
  assert.match(secrets, 'key: (13 bytes)');
  assert.not.match(secrets, Buffer.from('correct horse').toString('base64'));
  const again = await dataplane(['collect', '-o', into]);
  assert.is(again.status, 1);
  assert.match(again.stderr, 'is not empty');
});

test.run();
