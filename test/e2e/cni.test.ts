/**
 * The CNI plugin (specification 1.1.0) on a node where a container runtime runs the pods: what it prints, what is
 * connected, and that nothing of it is lost or left, whoever is killed.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Attachment } from '../../src/agent/cni/attachments.ts';
import { ApiClient } from '../../src/api/client/client.ts';
import type { NodeObject, Pod } from '../../src/api/types/objects.ts';
import { API_SOCKET } from '../../src/cluster/state.ts';
import type { CniResult } from '../../src/cni/protocol.ts';
import { type Cluster, eventually, nodeNetns, output, processPod, run, startCluster } from '../lib/cluster.ts';
import { type CniContainer, CniRuntime, makeContainerNamespace } from '../lib/cni-runtime.ts';
import { JoinedNode } from '../lib/joined-node.ts';
import { seededRandom } from '../lib/seeded-random.ts';

const test = suite('CNI plugin');
let cluster: Cluster;
let node: JoinedNode;
let runtime: CniRuntime;
let client: ApiClient;
let kubelet: NodeJS.Timeout;

const NODE = 'c1';
const NODE_IP = '172.18.0.60';
const SERVER = "require('http').createServer((q, r) => r.end(q.socket.remoteAddress)).listen(8080, '0.0.0.0')";
const serve = [process.execPath, '-e', SERVER];

test.before(async () => {
  cluster = await startCluster({
    args: ['--nodes', '1', '--authorization', 'rbac'],
    manifests: [processPod('far', 'n1', serve)],
  });
  client = new ApiClient(API_SOCKET);
  await client.create<NodeObject>({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: NODE },
    status: { addresses: [{ type: 'InternalIP', address: NODE_IP }] },
  });
  const isReady = { type: 'Ready', status: 'True', reason: 'KubeletReady', message: '' };
  kubelet = setInterval(() => {
    const condition = { ...isReady, lastHeartbeatTime: new Date().toISOString() };
    const options = { subresource: 'status', type: 'strategic' } as const;
    client.patch('Node', NODE, { status: { conditions: [condition] } }, options).catch(() => {});
  }, 1000);
  node = new JoinedNode({ name: NODE, ip: NODE_IP });
  const directories = { configuration: join(node.directory, 'net.d'), programs: join(node.directory, 'bin') };
  node.args.push('--cni', '--cni-conf-dir', directories.configuration, '--cni-bin-dir', directories.programs);
  node.args.push('--cni-socket', join(node.directory, 'cni.sock'));
  await node.make(cluster);
  // The agent identifies itself by a token, and may do what docs/real-clusters/rbac.yaml allows, and nothing more.
  await cluster.cli('apply', '-f', 'docs/real-clusters/rbac.yaml');
  const { token } = await client.requestToken('kube-system', 'dataplane-agent', {});
  node.useToken(token);
  assert.not(existsSync(directories.configuration));
  await node.start('container runtimes are served');
  runtime = new CniRuntime(join(directories.configuration, '05-dataplane.conflist'), directories.programs);
});
test.after(async () => {
  clearInterval(kubelet);
  client?.close();
  await node?.remove();
  await cluster?.down();
});

/** A pod at the API that kubelet would start on the node, with its namespace. */
async function makePod(name: string, labels: Record<string, string> = {}): Promise<CniContainer> {
  await client.create<Pod>({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels },
    spec: { nodeName: NODE, containers: [{ name: 'main', image: 'any' }] },
  });
  return makeContainer(name, { namespace: 'default', name });
}

async function makeContainer(id: string, pod?: CniContainer['pod']): Promise<CniContainer> {
  const netns = `container-${id}`;
  await makeContainerNamespace(netns);
  return { id, netns, ...(pod && { pod }) };
}

async function removeContainer({ netns }: CniContainer): Promise<void> {
  await output(run(['ip', 'netns', 'delete', netns]));
}

const addressOf = ({ ips }: CniResult): string => ips?.[0]?.address.split('/')[0] as string;
const fetch = (netns: string, url: string) => cluster.fetch(netns, url);
const farIP = async () => (await cluster.get<Pod>('pod', 'far')).status?.podIP as string;
const code = (stdout: string): number => (JSON.parse(stdout) as { code: number }).code;
const attachmentsFile = () => join(node.directory, 'state/nodes', NODE, 'cni.json');
const attachments = () => JSON.parse(readFileSync(attachmentsFile(), 'utf8')) as Attachment[];
/** Names of what the agent has connected. */
const connected = (): string[] => attachments().map(({ containerID }) => containerID);

test('ADD connects a pod with every other, both ways, and prints what it has made', async () => {
  const pod = await makePod('near');
  const result = await runtime.add(pod);
  const ip = addressOf(result);
  assert.is(result.cniVersion, '1.1.0');
  assert.match(ip, /^10\.244\.\d+\.2$/);
  assert.is(result.interfaces?.[0]?.sandbox, '/run/netns/container-near');
  const link = JSON.parse(await output(run(['ip', '-n', pod.netns, '-j', 'link', 'show', 'eth0'])))[0] as {
    address: string;
  };
  assert.is(result.interfaces?.[0]?.mac, link.address);
  cluster.start(pod.netns, serve);
  assert.is(await eventually(() => fetch('dp-pod-default-far', `http://${ip}:8080/`)), await farIP());
  assert.is(await fetch(pod.netns, `http://${await farIP()}:8080/`), ip);
  assert.is((await runtime.call('CHECK', pod, { prevResult: result })).status, 0);
});

test('a pod of the runtime is an endpoint of Services, and reaches them', async () => {
  const pod = await makePod('endpoint', { app: 'endpoint' });
  const ip = addressOf(await runtime.add(pod));
  cluster.start(pod.netns, serve);
  await cluster.apply({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'endpoint' },
    spec: { selector: { app: 'endpoint' }, type: 'NodePort', ports: [{ port: 80, targetPort: 8080, nodePort: 30888 }] },
  });
  const conditions = [{ type: 'Ready', status: 'True' }];
  await client.patchStatus('Pod', 'endpoint', 'default', { phase: 'Running', podIP: ip, podIPs: [{ ip }], conditions });
  const { spec } = await cluster.get<{ spec: { clusterIP: string } }>('service', 'endpoint');
  assert.is(await eventually(() => fetch('dp-pod-default-far', `http://${spec.clusterIP}/`)), await farIP());
  assert.is(await fetch('container-near', `http://${spec.clusterIP}/`), (await addressIn('container-near')) as string);
  // From the node itself, as kubelet probes, and from outside, by the node.
  await fetch(nodeNetns(NODE), `http://${ip}:8080/`);
  await fetch('dp-outside', `http://${NODE_IP}:30888/`);
});

async function addressIn(netns: string): Promise<string | undefined> {
  const text = await output(run(['ip', '-n', netns, '-4', '-o', 'address', 'show', 'eth0']));
  return /inet ([\d.]+)/.exec(text)?.[1];
}

test('a NetworkPolicy applies to a pod of the runtime from its first packet on', async () => {
  await cluster.apply({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'closed', namespace: 'default' },
    spec: { podSelector: { matchLabels: { app: 'closed' } }, policyTypes: ['Ingress'] },
  });
  const pod = await makePod('closed', { app: 'closed' });
  const ip = addressOf(await runtime.add(pod));
  cluster.start(pod.netns, serve);
  await eventually(async () =>
    (await run(['ip', 'netns', 'exec', pod.netns, 'curl', '-s', `http://${ip}:8080/`])).status === 0 ? true : undefined,
  );
  const tried = await cluster.exec('dp-pod-default-far', ['curl', '-sS', '-m', '1', `http://${ip}:8080/`]);
  assert.is(tried.status, 28, 'curl has to time out');
  await cluster.cli('delete', 'networkpolicy', 'closed');
  await eventually(() => fetch('dp-pod-default-far', `http://${ip}:8080/`));
});

test('connections outlive the agent, and the next one has every container, address and service', async () => {
  const ip = await addressIn('container-near');
  const url = `http://${ip}:8080/`;
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    await node.stop(signal);
    if (signal === 'SIGTERM') assert.is(code((await runtime.call('STATUS')).stdout), 50);
    await node.start('container runtimes are served');
    await fetch('dp-pod-default-far', url);
    await fetch('dp-outside', `http://${NODE_IP}:30888/`);
    const pod = await makePod(`after-${signal.toLowerCase()}`);
    const next = addressOf(await runtime.add(pod));
    assert.not([ip, await addressIn('container-endpoint')].includes(next), `${next} is in use`);
    await runtime.delete(pod);
  }
});

test('a container that cannot be connected again does not keep the agent from serving the others', async () => {
  await makeContainerNamespace('container-broken');
  await node.stop('SIGKILL');
  const before = attachments();
  const device = { netnsPath: '/run/netns/container-broken', ifname: 'lo' };
  const first = before[0] as Attachment;
  const broken = { ...first, ...device, containerID: 'broken', name: 'broken', ip: first.ip.replace(/\d+$/, '250') };
  writeFileSync(attachmentsFile(), JSON.stringify([broken, ...before]));
  await node.start('container runtimes are served');
  assert.match(node.log, /default\/broken could not be connected again: /);
  await fetch('dp-pod-default-far', `http://${await addressIn('container-near')}:8080/`);
  await node.stop();
  writeFileSync(attachmentsFile(), JSON.stringify(before));
  await node.start('container runtimes are served');
  await output(run(['ip', 'netns', 'delete', 'container-broken']));
});

test('DEL removes the device, succeeds again, and also without the namespace', async () => {
  const pod = await makePod('short');
  const first = addressOf(await runtime.add(pod));
  await runtime.delete(pod);
  assert.is.not((await run(['ip', '-n', pod.netns, 'link', 'show', 'eth0'])).status, 0);
  await runtime.delete(pod);
  // An address that was just released is not the next one: its former pod may have open connections elsewhere.
  assert.is.not(addressOf(await runtime.add(pod)), first);
  await removeContainer(pod);
  await runtime.delete(pod);
  assert.not(connected().includes('short'));
});

test('a second ADD for a container gives the same result; a new sandbox of a pod replaces the former one', async () => {
  const pod = await makePod('twice');
  const first = await runtime.add(pod);
  assert.equal(await runtime.add(pod), first);
  const anew = await makeContainer('twice-anew', pod.pod);
  const second = await runtime.add(anew);
  // DEL of the former sandbox comes after that.
  await runtime.delete(pod);
  cluster.start(anew.netns, serve);
  await eventually(() => fetch('dp-pod-default-far', `http://${addressOf(second)}:8080/`));
  await runtime.delete(anew);
});

test('GC removes what the runtime does not list, and nothing else', async () => {
  const [kept, lost] = [await makePod('kept'), await makePod('lost')];
  const ip = addressOf(await runtime.add(kept));
  await runtime.add(lost);
  const listed = connected()
    .filter((id) => id !== 'lost')
    .map((containerID) => ({ containerID, ifname: 'eth0' }));
  assert.is((await runtime.call('GC', undefined, { 'cni.dev/valid-attachments': listed })).status, 0);
  assert.not(connected().includes('lost'));
  cluster.start(kept.netns, serve);
  await eventually(() => fetch('dp-pod-default-far', `http://${ip}:8080/`));
  // Of another network of the runtime nothing is known here.
  assert.is((await runtime.call('GC', undefined, { name: 'other', 'cni.dev/valid-attachments': [] })).status, 0);
  assert.ok(connected().includes('kept'));
});

test('a container without a pod gets its port mappings, another device name, and the address it asks for', async () => {
  const container = { ...(await makeContainer('plain')), ifname: 'net1' };
  const podNetwork = (await addressIn('container-near'))?.replace(/\.\d+$/, '');
  const runtimeConfig = {
    ips: [`${podNetwork}.200/24`],
    portMappings: [{ hostPort: 18080, containerPort: 8080, protocol: 'tcp' }],
  };
  const result = await runtime.add(container, { runtimeConfig });
  assert.is(addressOf(result), `${podNetwork}.200`);
  assert.is(result.interfaces?.[0]?.name, 'net1');
  cluster.start(container.netns, serve);
  await eventually(() => fetch('dp-outside', `http://${NODE_IP}:18080/`));
  const other = await makeContainer('other');
  const refused = await runtime.call('ADD', other, { runtimeConfig: { ips: runtimeConfig.ips } });
  assert.is(code(refused.stdout), 7);
  assert.match(refused.stdout, `${podNetwork}.200 is in use`);
  await runtime.delete(container);
  assert.is.not((await cluster.exec('dp-outside', ['curl', '-s', '-m', '1', `http://${NODE_IP}:18080/`])).status, 0);
});

test('errors have the codes of the specification, and change nothing', async () => {
  const before = connected();
  const container = await makeContainer('wrong');
  const config = (more: object) =>
    JSON.stringify({ cniVersion: '1.0.0', name: 'dataplane', type: 'dataplane-cni', ...agent, ...more });
  const agent = { agentSocket: join(node.directory, 'cni.sock') };
  const failed = async (expected: number, command: string, input: string, of: CniContainer | undefined = container) => {
    const { status, stdout } = await runtime.callWith(command, input, of);
    assert.is(status, 1, stdout);
    assert.is(code(stdout), expected, stdout);
  };
  await failed(1, 'ADD', config({ cniVersion: '0.2.0' }));
  await failed(1, 'ADD', config({ cniVersion: '2.0.0' }));
  await failed(3, 'CHECK', config({ prevResult: {} }));
  await failed(4, 'ADD', config({}), { ...container, id: '' });
  await failed(4, 'ADD', config({}), { ...container, ifname: 'a-device-name-too-long' });
  await failed(4, 'MOVE', config({}));
  await failed(6, 'ADD', '{');
  await failed(7, 'ADD', config({ name: '' }));
  await failed(7, 'ADD', config({ prevResult: { ips: [] } }));
  await failed(7, 'ADD', config({ runtimeConfig: { ips: ['192.168.7.7/24'] } }));
  await failed(7, 'GC', config({}), undefined);
  await failed(101, 'ADD', config({}), { ...container, netns: 'none' });
  await failed(11, 'ADD', config({ agentSocket: '/run/none.sock' }));
  await failed(50, 'STATUS', config({ agentSocket: '/run/none.sock' }), undefined);
  await failed(11, 'ADD', config({}), { ...container, pod: { namespace: 'default', name: 'unknown' } });
  assert.equal(connected(), before);
  const old = await runtime.callWith('ADD', config({ cniVersion: '0.3.1' }), container);
  assert.is((JSON.parse(old.stdout) as { ips: { version: string }[] }).ips[0]?.version, '4');
  await runtime.delete(container);
});

test('24 containers come and go while plugins and agents are killed: no address, device or entry is left', async () => {
  const random = seededRandom(7);
  const before = connected();
  const containers = await Promise.all(Array.from({ length: 6 }, (_, i) => makeContainer(`churn-${i}`)));
  for (let round = 0; round < 4; round++) {
    const calls = containers.map(async (container) => {
      // As a runtime does that was itself killed: whatever the outcome of ADD, DEL follows until it succeeds.
      const add = runtime.call('ADD', container);
      if (random.below(3) === 0) return;
      await add;
    });
    if (round % 2 === 1) {
      await node.stop('SIGKILL');
      await Promise.all(calls);
      await node.start('container runtimes are served');
    } else await Promise.all(calls);
    for (const container of containers) {
      await eventually(async () => ((await runtime.call('DEL', container)).status === 0 ? true : undefined), 20_000);
    }
  }
  // An ADD that nobody waited for may have come after its DEL; GC is what the specification has for that.
  const listed = before.map((containerID) => ({ containerID, ifname: 'eth0' }));
  await eventually(async () => {
    await runtime.call('GC', undefined, { 'cni.dev/valid-attachments': listed });
    return connected().length === before.length ? true : undefined;
  });
  assert.equal(connected().sort(), before.sort());
  for (const { netns } of containers) {
    assert.is.not((await run(['ip', '-n', netns, 'link', 'show', 'eth0'])).status, 0, `${netns} has eth0`);
  }
  assert.equal(readdirSync(join(node.directory, 'net.d')), ['05-dataplane.conflist']);
});

test.run();
