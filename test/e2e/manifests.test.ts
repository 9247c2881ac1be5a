/** Documents of each category that public repositories have (test/manifests), applied as they are: what is accepted, behaves. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, dataplane, eventually, output, ROOT, run, startCluster } from '../lib/cluster.ts';

const DIRECTORY = join(ROOT, 'test/manifests');
const files = readdirSync(DIRECTORY).filter((name) => name !== 'not-served.yaml');
const test = suite('public manifests');
let cluster: Cluster;

interface Object {
  metadata: { name: string; labels?: Record<string, string> };
  spec: Record<string, unknown>;
  status?: Record<string, unknown>;
}
interface Pod extends Object {
  spec: { nodeName: string; containers: { resources?: object }[] };
}
const get = (...words: string[]) => cluster.get<Object>(...words);
const items = async (...words: string[]) => (await cluster.get<{ items: Pod[] }>(...words)).items;
const exec = (pod: string, ...command: string[]) => cluster.cli('exec', pod, '--', ...command);

test.before(async () => {
  cluster = await startCluster({
    args: ['--nodes', '2', '--timeout', '100', ...files.flatMap((name) => ['-f', join(DIRECTORY, name)])],
  });
});
test.after(async () => {
  await cluster?.down();
});

test('workloads: every kind has its pods when `up` returns, a DaemonSet one on each node', async () => {
  for (const [kind, name, ready] of [
    ['rc', 'rc-web', 2],
    ['rs', 'rs-web', 1],
    ['sts', 'web', 2],
  ] as const)
    assert.is((await get(kind, name)).status?.readyReplicas, ready, name);
  const agents = await items('pods', '-n', 'kube-system', '-l', 'name=node-agent');
  assert.equal(agents.map(({ spec }) => spec.nodeName).sort(), ['n1', 'n2']);
});

test('workloads: a Job computes, a CronJob waits for its minute', async () => {
  const [pod] = await eventually(async () => {
    const pods = await items('pods', '-l', 'job-name=pi', '--field-selector', 'status.phase=Succeeded');
    return pods.length > 0 ? pods : undefined;
  });
  assert.match(await cluster.cli('logs', pod!.metadata.name), /^3\.14159265/);
  assert.is((await get('cronjob', 'hello')).spec.schedule, '*/1 * * * *');
});

test('pods: environment, files, identity and names are as the manifest has them', async () => {
  const environment = await exec('everything', 'env');
  for (const line of [
    'GREETING=hello pod',
    'POD_LABEL=demonstrate-everything',
    'CFG_colour=green',
    'CFG_enabled=yes',
    'password=t0p-Secret',
  ])
    assert.match(environment, `${line}\n`);
  assert.is(
    await exec('everything', 'cat', '/etc/config/colour', '/etc/one-key', '/etc/secret/my-group/my-username'),
    'greengreenadmin',
  );
  assert.match(await exec('everything', 'id'), /uid=1000.* gid=3000.*4000/);
  assert.is(await exec('everything', 'hostname'), 'box\n');
  assert.match(await exec('everything', 'cat', '/etc/hosts'), /127\.0\.0\.1\s+foo\.local\s+bar\.local/);
  assert.match(await exec('everything', 'cat', '/etc/resolv.conf'), 'ndots:2');
  const page = await exec('init-demo', 'cat', '/usr/share/nginx/html/index.html');
  assert.is(page, 'initialised\n');
  assert.is((await get('pod', 'with-affinity')).spec.nodeName, 'n2');
  assert.is((await get('pod', 'listed')).status?.phase, 'Succeeded');
  const changed = await dataplane(['apply', '-f', '-'], {
    input:
      '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"colour":"red"},"immutable":true}',
  });
  assert.match(changed.stderr, /immutable/);
});

test('networking: names, affinity, endpoints without a selector', async () => {
  const [endpoints] = await items('endpointslices', '-l', 'kubernetes.io/service-name=without-selector');
  assert.match(JSON.stringify(endpoints), '192.0.2.42');
  assert.match(await cluster.cli('dns', 'query', 'web-0.nginx-headless', '--from', 'pod/everything'), /IN A 10\.244\./);
  const external = await dataplane(['dns', 'query', 'external-name.default.svc.cluster.local.']);
  assert.match(external.stdout, 'IN CNAME my.database.example.com.');
  assert.is((await get('service', 'my-service')).spec.sessionAffinity, 'ClientIP');
  assert.match(await cluster.cli('describe', 'networkpolicy', 'test-network-policy'), /role=db|role: db/);
});

test('networking: a Service of IPv6 is refused with the reason', async () => {
  const spec = { ipFamilies: ['IPv6'], selector: { app: 'a' }, ports: [{ port: 80 }] };
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'six' }, spec });
  const { status, stderr } = await dataplane(['apply', '-f', '-'], { input });
  assert.is(status, 1);
  assert.match(stderr, /ipFamilies.*IPv6|IPv6/);
});

test('access: accounts and roles are there, and an aggregated role has the rules of others', async () => {
  assert.is((await get('serviceaccount', 'build-robot', '-n', 'team')).metadata.name, 'build-robot');
  const monitoring = await cluster.get<{ rules: object[] }>('clusterrole', 'monitoring');
  assert.ok(Array.isArray(monitoring.rules));
});

test('policies: a LimitRange sets requests, a quota counts and refuses, a budget has its numbers', async () => {
  const pod = (name: string, resources: object) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'limited' },
    spec: { terminationGracePeriodSeconds: 0, containers: [{ name: 'c', image: 'pause', resources }] },
  });
  const memory = { requests: { memory: '64Mi' }, limits: { memory: '64Mi' } };
  await cluster.apply(pod('defaults', memory));
  const [container] = (await cluster.get<Pod>('pod', 'defaults', '-n', 'limited')).spec.containers;
  assert.match(JSON.stringify(container!.resources), '"cpu":"500m"');
  await eventually(async () => {
    const { status } = await get('resourcequota', 'compute-resources', '-n', 'limited');
    return (status?.used as Record<string, string> | undefined)?.['requests.cpu'] === '500m' || undefined;
  });
  const large = { requests: { ...memory.requests, cpu: '900m' }, limits: { ...memory.limits, cpu: '900m' } };
  const refused = await dataplane(['apply', '-f', '-'], { input: JSON.stringify(pod('large', large)) });
  assert.match(refused.stderr, 'exceeded quota: compute-resources');
  const { status } = await get('pdb', 'rc-pdb');
  assert.equal([status?.expectedPods, status?.desiredHealthy, status?.disruptionsAllowed], [2, 1, 1]);
  await eventually(async () => ((await get('hpa', 'rs-web')).status?.currentReplicas === 1 ? true : undefined), 30_000);
});

test('storage: a claim finds the volume of its class, another one gets a directory when a pod uses it', async () => {
  assert.is((await get('pvc', 'task-pv-claim')).spec.volumeName, 'task-pv-volume');
  assert.is((await get('pvc', 'dynamic')).status?.phase, 'Bound');
  await eventually(async () => ((await exec('dynamic-user', 'cat', '/data/file')) === 'kept\n' ? true : undefined));
});

test('custom kinds: an object of a defined kind is stored and checked', async () => {
  // As a client library does: the command `dataplane apply` knows built-in kinds only.
  const create = async (name: string, spec: object) => {
    const object = { apiVersion: 'stable.example.com/v1', kind: 'CronTab', metadata: { name }, spec };
    const path = 'http://api/apis/stable.example.com/v1/namespaces/default/crontabs';
    const words = ['curl', '-s', '--unix-socket', '/run/dataplane/api.sock', '-H', 'Content-Type: application/json'];
    return JSON.parse(await output(run([...words, '-d', JSON.stringify(object), path]))) as Object & {
      message?: string;
    };
  };
  assert.equal((await create('mine', { cronSpec: '* * * * */5', replicas: 1 })).spec, {
    cronSpec: '* * * * */5',
    replicas: 1,
  });
  assert.match((await create('wrong', { replicas: 'many' })).message!, 'spec.replicas');
});

test.run();
