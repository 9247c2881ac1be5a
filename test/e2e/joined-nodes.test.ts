/** A node joins a cluster by a kubeconfig, over TLS, and registers itself there. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { NodeObject } from '../../src/api/types/objects.ts';
import { type Cluster, dataplane, eventually, nodeNetns, processPod, run, startCluster } from '../lib/cluster.ts';
import { JoinedNode } from '../lib/joined-node.ts';

const test = suite('joined nodes');
let cluster: Cluster;
let node: JoinedNode;

const SERVER = "require('http').createServer((q, r) => r.end(require('os').hostname())).listen(8080)";

test.before(async () => {
  cluster = await startCluster({
    args: ['--nodes', '1'],
    manifests: [
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'web' },
        spec: { selector: { app: 'server' }, ports: [{ port: 80, targetPort: 8080 }] },
      },
      processPod('client', 'n1', ['sleep', 'infinity']),
    ],
  });
  node = new JoinedNode({ name: 'j1.example', ip: '172.18.0.50' });
  await node.make(cluster);
  await node.start();
});
test.after(async () => {
  await node?.remove();
  await cluster?.down();
});

const ready = ({ status }: NodeObject) => status?.conditions?.find(({ type }) => type === 'Ready')?.status;

test('the node registers itself with the address that it reaches the API by, and says how it is reached', async () => {
  const object = await eventually(async () => {
    const now = await cluster.get<NodeObject>('node', node.name);
    return ready(now) === 'True' ? now : undefined;
  });
  assert.equal(object.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address, '172.18.0.50');
  const { annotations = {} } = object.metadata;
  assert.is(annotations['flannel.alpha.coreos.com/public-ip'], '172.18.0.50');
  assert.is(annotations['flannel.alpha.coreos.com/backend-type'], 'vxlan');
  assert.match(object.spec?.podCIDR ?? '', /^10\.244\.\d+\.0\/24$/);
});

test('its pods run, and are reached from other nodes by their Service and from outside by its NodePort', async () => {
  await cluster.apply(processPod('server', node.name, [process.execPath, '-e', SERVER]));
  const page = await eventually(async () => cluster.fetch('dp-pod-default-client', `http://${await clusterIP()}/`));
  assert.is(page, 'server');
  await cluster.cli(
    'expose',
    'pod',
    'server',
    '--type',
    'NodePort',
    '--port',
    '8080',
    '--node-port',
    '30808',
    '--name',
    'out',
  );
  assert.is(await eventually(() => cluster.fetch('dp-outside', 'http://172.18.0.50:30808/')), 'server');
  assert.is(await cluster.fetch('dp-outside', 'http://172.18.0.11:30808/'), 'server');
});

async function clusterIP(): Promise<string> {
  const { spec } = await cluster.get<{ spec: { clusterIP: string } }>('service', 'web');
  return spec.clusterIP;
}

test('a deleted Node comes back with its address and pod network', async () => {
  const before = await cluster.get<NodeObject>('node', node.name);
  await cluster.cli('delete', 'node', node.name);
  const after = await eventually(async () => {
    const now = await cluster.get<NodeObject>('node', node.name);
    return now.metadata.uid !== before.metadata.uid && ready(now) === 'True' ? now : undefined;
  }, 20_000);
  assert.is(after.spec?.podCIDR, before.spec?.podCIDR);
  assert.equal(after.status?.addresses, before.status?.addresses);
});

test('credentials that are replaced in their files are used without a restart', async () => {
  const config = node.readConfig();
  const data = (field: string) => Buffer.from(new RegExp(`${field}: (\\S+)`).exec(config)?.[1] as string, 'base64');
  const write = (name: string, content: string | Buffer) =>
    writeFileSync(join(node.directory, name), content, { mode: 0o600 });
  const certificate = data('client-certificate-data');
  write('ca.crt', data('certificate-authority-data'));
  write('admin.crt', certificate);
  write('admin.key', data('client-key-data'));
  const byFiles = config
    .replace(/certificate-authority-data: .*/, 'certificate-authority: ca.crt')
    .replace(/client-certificate-data: .*/, 'client-certificate: admin.crt')
    .replace(/client-key-data: .*/, 'client-key: admin.key');
  writeFileSync(node.kubeconfig, byFiles, { mode: 0o600 });
  await node.stop();
  await node.start();
  // The certificate of the authority does not belong to the key.
  write('admin.crt', data('certificate-authority-data'));
  await eventually(async () => (node.log.includes('the API is unavailable') ? true : undefined), 15_000);
  write('admin.crt', certificate);
  await eventually(async () => (node.log.includes('the API is available again') ? true : undefined), 15_000);
  writeFileSync(node.kubeconfig, config, { mode: 0o600 });
});

test('a kubeconfig that cannot be used is refused in one line that names the file and the reason', async () => {
  const wrong = join(node.directory, 'wrong');
  const agent = (file: string, ...more: string[]) =>
    run([
      'ip',
      'netns',
      'exec',
      nodeNetns(node.name),
      process.execPath,
      'dist/bundle/cli/main.js',
      'agent',
      '--node',
      'other',
      '--kubeconfig',
      file,
      '--state',
      join(node.directory, 'other'),
      ...more,
    ]);
  const refused = async (text: string | undefined, expected: RegExp) => {
    if (text !== undefined) writeFileSync(wrong, text);
    const { status, stderr } = await agent(text === undefined ? join(node.directory, 'none') : wrong);
    assert.is(status, 1);
    assert.match(stderr, expected);
    assert.is(stderr.trim().split('\n').length, 1);
  };
  const config = node.readConfig();
  await refused(undefined, /kubeconfig \S+none: ENOENT/);
  await refused(config.replace(/current-context.*/, ''), /no current-context/);
  await refused(config.replace(/current-context.*/, 'current-context: other'), /no entry "other" in contexts/);
  await refused(config.replace(/client-key-data.*/, 'exec: {command: aws}'), /uses exec; only tokens/);
  await refused(config.replace(/client-key-data.*/, 'client-key: missing.key'), /ENOENT.*missing\.key/);
  await refused('a: [', /kubeconfig/);
  const { status, stderr } = await dataplane(['agent', '--node', 'x', '--cni']);
  assert.is(status, 2);
  assert.match(stderr, /--cni needs --kubeconfig or --in-cluster/);
});

test.run();
