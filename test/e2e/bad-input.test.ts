/**
 * Errors on the command line, in manifests, and of a machine that lacks something: each is one line with advice, has a
 * non-zero exit status, and changes nothing.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { KubeObject } from '../../src/api/types/objects.ts';
import { type Cluster, dataplane, MAIN, processPod, type Ran, run, startCluster } from '../lib/cluster.ts';
import { leftovers } from '../lib/leftovers.ts';

/** Checks the exit status, and that stderr is one line that matches. */
function refused({ status, stdout, stderr }: Ran, pattern: RegExp, expected = 1): void {
  assert.match(stderr, pattern);
  assert.is(stderr.trim().split('\n').length, 1, stderr);
  assert.is(status, expected, stderr);
  assert.is(stdout, '');
}

const nodePort = (name: string, port: number) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name },
  spec: { type: 'NodePort', selector: { app: 'x' }, ports: [{ port: 80, nodePort: port }] },
});
const configMap = (name: string, value: string) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name },
  data: { value },
});
const input = (...objects: object[]) => ({ input: objects.map((object) => JSON.stringify(object)).join('\n---\n') });

const before = suite('before there is a cluster');

before.after.each(() => assert.equal(leftovers(), []));

before('networks that overlap, that no host may use, that are too small', async () => {
  const cases: [string[], RegExp][] = [
    [
      ['--pod-cidr', '10.96.0.0/16'],
      /^--pod-cidr 10\.96\.0\.0\/16 and --service-cidr 10\.96\.0\.0\/12 overlap: choose/,
    ],
    [
      ['--pod-cidr', '172.18.0.0/16'],
      /^--pod-cidr 172\.18\.0\.0\/16 and the underlay 172\.18\.0\.0\/24 overlap: choose/,
    ],
    [['--service-cidr', '172.18.0.0/16'], /^--service-cidr .* and the underlay .* overlap: choose/],
    [['--pod-cidr', '127.0.0.0/16'], /^--pod-cidr 127\.0\.0\.0\/16 lies in 127\.0\.0\.0\/8, which no host may use/],
    [
      ['--service-cidr', '224.0.0.0/16'],
      /^--service-cidr 224\.0\.0\.0\/16 lies in 224\.0\.0\.0\/3, which no host may use/,
    ],
    [['--nodes', '-1'], /^--nodes -1: expected a whole number from 1 to 200/],
    [['--nodes', '2', '--nodes', '3'], /^--nodes is given twice, as 2 and as 3: give it once/],
    [['--timeout', '0'], /^--timeout 0: expected more than 0 seconds/],
    [
      ['--load-balancer-pool', '10.244.9.0/24'],
      /^--load-balancer-pool 10\.244\.9\.0\/24 and --pod-cidr 10\.244\.0\.0\/16 overlap: choose/,
    ],
    [
      ['--external-ip-cidr', '10.96.0.0/16'],
      /^--external-ip-cidr 10\.96\.0\.0\/16 and --service-cidr 10\.96\.0\.0\/12 overlap: choose/,
    ],
    [['--pod-cidr', '10.244.0.0/24'], /^--nodes 2: 10\.244\.0\.0\/24 has room for 1: choose a larger --pod-cidr/],
    [['--pod-cidr', '10.244.0.0/33'], /^--pod-cidr 10\.244\.0\.0\/33: expected an IPv4 network/],
    [['--node-port-range', '4000-5000'], /^--vxlan-port 4789 is one of the NodePorts/],
  ];
  for (const [args, pattern] of cases) refused(await dataplane(['up', ...args]), pattern, 2);
});

before('who is not root is told to be', async () => {
  const asNobody = (...args: string[]) => run(['unshare', '--user', process.execPath, MAIN, ...args]);
  refused(await asNobody('up'), /^dataplane up needs root: run `sudo dataplane up`$/m);
  refused(await asNobody('down'), /^dataplane down needs root: run `sudo dataplane down`$/m);
});

before('without /dev/net/tun it says how to get one', async () => {
  const script = `mount -t tmpfs none /dev/net && exec ${process.execPath} ${MAIN} up`;
  refused(
    await run(['unshare', '--mount', 'sh', '-c', script]),
    /^\/dev\/net\/tun is missing: .*--device \/dev\/net\/tun/,
  );
});

before('a /dev/net/tun that cannot be opened, a /dev/shm without room, no ip', async () => {
  const isolated = (prepare: string, up: string) => run(['unshare', '--mount', 'sh', '-c', `${prepare} && exec ${up}`]);
  const up = `${process.execPath} ${MAIN} up`;
  // A device node without a driver.
  const noDriver = 'mount -t tmpfs none /dev/net && mknod /dev/net/tun c 10 254';
  refused(await isolated(noDriver, up), /^\/dev\/net\/tun cannot be opened \(E(NODEV|NXIO|PERM)\): /);
  refused(
    await isolated('mount -t tmpfs -o size=4m none /dev/shm', up),
    /^\/dev\/shm has \d MiB free, the tables of 2 nodes need 16 MiB: /,
  );
  const ip = (await run(['sh', '-c', 'readlink -f "$(command -v ip)"'])).stdout.trim();
  refused(
    await isolated(`mount --bind /dev/null ${ip}`, up),
    /^the program `ip` is not in PATH: apt install iproute2$/m,
  );
});

before('a file that is not there, and one with nothing in it', async () => {
  refused(await dataplane(['up', '-f', '/nonexistent.yaml']), /^\/nonexistent\.yaml: no such file or directory/);
  refused(await dataplane(['get', 'pods']), /dataplane up/);
});

before.run();

const during = suite('with a cluster');
let cluster: Cluster;

const names = async () => {
  const { items } = await cluster.get<{ items: KubeObject[] }>('pods,services,configmaps,nodes,namespaces', '-A');
  return items.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`).sort();
};
const apply = (...objects: object[]) => dataplane(['apply', '-f', '-'], input(...objects));

during.before(async () => {
  cluster = await startCluster();
  await cluster.apply(nodePort('taken', 31000), configMap('kept', 'old'));
});
during.after(() => cluster.down());

let present: string[] = [];
during.before.each(async () => {
  present = await names();
});
during.after.each(async () => {
  assert.equal(await names(), present, 'something was half applied');
});

during('fields, kinds and names that are wrong', async () => {
  const pod = processPod('x', undefined, ['sleep', '9']);
  refused(
    await apply({ ...pod, spec: { ...pod.spec, restartPolice: 'Never' } }),
    /^stdin: document 1: spec\.restartPolice: unknown field; did you mean "restartPolicy"\?$/m,
  );
  refused(
    await apply({ ...pod, spec: { containers: 7 } }),
    /^stdin: document 1: spec\.containers: expected .*, got 7$/m,
  );
  refused(
    await apply({ ...pod, kind: 'Gadget' }),
    /^stdin: document 1: kind: unknown kind "Gadget"; supported are Pod,/,
  );
  refused(
    await apply({ ...pod, metadata: { name: 'P_x' } }),
    /^stdin: document 1: metadata\.name: expected .*, got "P_x"$/m,
  );
  refused(await dataplane(['apply', '-f', '-'], { input: 'a: [' }), /^stdin: document 1: line \d+, column \d+: /);
  refused(await dataplane(['apply', '-f', '-'], { input: '' }), /^no objects in stdin$/m, 2);
});

during('NodePorts out of range and taken', async () => {
  refused(
    await apply(nodePort('low', 80)),
    /document 1: service\/low: .*provided port is not in the valid range.*30000-32767/,
  );
  refused(await apply(nodePort('high', 32768)), /document 1: service\/high: .*provided port is not in the valid range/);
  refused(
    await apply(nodePort('again', 31000)),
    /document 1: service\/again: .*31000: provided port is already allocated/,
  );
  const expose = ['expose', 'service', 'taken', '--port', '80', '--type', 'NodePort'];
  refused(await dataplane([...expose, '--name', 'other', '--node-port', '31000']), /already allocated/);
  refused(await dataplane([...expose, '--name', 'taken', '--node-port', '31001']), /services "taken" already exists/);
});

during('one name twice in a file', async () => {
  refused(
    await apply(configMap('twice', '1'), configMap('twice', '2')),
    /^stdin: document 2: ConfigMap twice is already in stdin: document 1$/m,
  );
});

during('one bad object among good ones: none is applied', async () => {
  // The cluster refuses the second one in any case.
  refused(await apply(nodePort('g', 31013), nodePort('h', 31000)), /document 2: service\/h: .*already allocated/);
  // Each one alone would be accepted; together, the first is undone.
  refused(await apply(nodePort('e', 31012), nodePort('f', 31012)), /document 2: service\/f: .*already allocated/);
  // Earlier changes are undone.
  const changed = await apply(configMap('kept', 'new'), nodePort('e', 31012), nodePort('f', 31012));
  refused(changed, /document 3: service\/f: .*already allocated/);
  assert.equal((await cluster.get<KubeObject & { data: object }>('configmap', 'kept')).data, { value: 'old' });
  // The port of the one that was undone is free again.
  assert.is(await cluster.cli('get', 'svc', '-o', 'name'), 'service/kubernetes\nservice/taken\n');
  assert.is((await apply(nodePort('e', 31012))).stdout, 'service/e created\n');
  await cluster.cli('delete', 'service', 'e');
});

during('a namespace and what lies in it come in one file', async () => {
  const both = await apply(
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'fresh' } },
    { ...configMap('inside', '1'), metadata: { name: 'inside', namespace: 'fresh' } },
  );
  assert.is(both.stderr, '');
  assert.is(both.stdout, 'namespace/fresh created\nconfigmap/inside created\n');
  await cluster.cli('delete', 'namespace', 'fresh');
  const lost = { ...configMap('lost', '1'), metadata: { name: 'lost', namespace: 'nowhere' } };
  refused(await apply(lost), /document 1: configmap\/lost: .*namespaces "nowhere" not found/);
});

during("a node whose pod network is another's, or outside the cluster's", async () => {
  const node = (podCIDR: string) => ({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'n9' }, spec: { podCIDR } });
  refused(
    await apply(node('10.244.1.0/24')),
    /node\/n9: .*"10\.244\.1\.0\/24": overlaps with 10\.244\.1\.0\/24 of node n1/,
  );
  refused(await apply(node('10.96.0.0/24')), /node\/n9: .*is not within the cluster's pod network 10\.244\.0\.0\/16/);
});

during.run();
