/**
 * The CNI plugin (specification 1.1.0) on a node where a container runtime runs the pods: what it prints, what is
 * connected, and that nothing of it is lost or left, whoever is killed.
 */
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Attachment } from '../../src/agent/cni/attachments.ts';
import type { Pod } from '../../src/api/types/objects.ts';
import type { CniResult } from '../../src/cni/protocol.ts';
import { type Cluster, eventually, nodeNetns, output, processPod, run } from '../lib/cluster.ts';
import { CalledPlugin, type CniContainer, makeContainerNamespace } from '../lib/cni/called-plugin.ts';
import { makeContainer, NODE, NODE_IP, RuntimeNode, removeContainer, SERVED } from '../lib/cni/runtime-node.ts';
import type { JoinedNode } from '../lib/joined-node.ts';
import { seededRandom } from '../lib/seeded-random.ts';

const test = suite('CNI plugin');
let on: RuntimeNode;
let cluster: Cluster;
let node: JoinedNode;
let runtime: CalledPlugin;

const SERVER = "require('http').createServer((q, r) => r.end(q.socket.remoteAddress)).listen(8080, '0.0.0.0')";
const serve = [process.execPath, '-e', SERVER];

test.before(async () => {
  on = await RuntimeNode.make([processPod('far', 'n1', serve)]);
  ({ cluster, node } = on);
  assert.not(existsSync(on.directories.configuration));
  await node.start(SERVED);
  const { configuration, programs } = on.directories;
  runtime = new CalledPlugin(join(configuration, '05-dataplane.conflist'), programs);
});
test.after(() => on?.remove());

const makePod = (name: string, labels?: Record<string, string>): Promise<CniContainer> => on.makeSandbox(name, labels);
const addressOf = ({ ips }: CniResult): string => ips?.[0]?.address.split('/')[0] as string;
const fetch = (netns: string, url: string) => cluster.fetch(netns, url);
const farIP = async () => (await cluster.get<Pod>('pod', 'far')).status?.podIP as string;
const code = (stdout: string): number => (JSON.parse(stdout) as { code: number }).code;
/** Names of what the agent has connected. */
const connected = (): string[] => on.attachments().map(({ containerID }) => containerID);

test('ADD connects a pod with every other, both ways, and prints what it has made', async () => {
  const pod = await makePod('near');
  const result = await runtime.add(pod);
  const ip = addressOf(result);
  assert.is(result.cniVersion, '1.0.0');
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
  await on.client.patchStatus('Pod', 'endpoint', 'default', {
    phase: 'Running',
    podIP: ip,
    podIPs: [{ ip }],
    conditions,
  });
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
    // Without a standby, connected pods have no network now.
    if (signal === 'SIGTERM') assert.is(code((await runtime.call('STATUS')).stdout), 51);
    await node.start(SERVED);
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
  const before = on.attachments();
  const device = { netnsPath: '/run/netns/container-broken', ifname: 'lo' };
  const first = before[0] as Attachment;
  const broken = { ...first, ...device, containerID: 'broken', name: 'broken', ip: first.ip.replace(/\d+$/, '250') };
  writeFileSync(on.attachmentsFile, JSON.stringify([broken, ...before]));
  await node.start(SERVED);
  assert.match(node.log, /default\/broken could not be connected again: /);
  await fetch('dp-pod-default-far', `http://${await addressIn('container-near')}:8080/`);
  await node.stop();
  writeFileSync(on.attachmentsFile, JSON.stringify(before));
  await node.start(SERVED);
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
  await failed(7, 'ADD', config({ runtimeConfig: { mac: '01:58:0a:f4:01:05' } }));
  await failed(7, 'ADD', config({ runtimeConfig: { bandwidth: { ingressRate: 7 } } }));
  await failed(7, 'ADD', config({ ipam: { type: '../host-local' } }));
  await failed(4, 'ADD', config({ ipam: { type: 'no-such-plugin' } }));
  await failed(7, 'GC', config({}), undefined);
  await failed(101, 'ADD', config({}), { ...container, netns: 'none' });
  await failed(11, 'ADD', config({ agentSocket: '/run/none.sock' }));
  await failed(51, 'STATUS', config({ agentSocket: '/run/none.sock' }), undefined);
  await failed(11, 'ADD', config({}), { ...container, pod: { namespace: 'default', name: 'unknown' } });
  assert.equal(connected(), before);
  const old = await runtime.callWith('ADD', config({ cniVersion: '0.3.1' }), container);
  assert.is((JSON.parse(old.stdout) as { ips: { version: string }[] }).ips[0]?.version, '4');
  await runtime.delete(container);
});

test('a container gets the MAC address and the bandwidth limits that its runtime chooses, also from the next agent', async () => {
  const container = await makeContainer('limited');
  const mac = '02:00:5e:10:00:01';
  const runtimeConfig = { mac, bandwidth: { ingressRate: 4_000_000, ingressBurst: 1, egressRate: 0, egressBurst: 0 } };
  const result = await runtime.add(container, { runtimeConfig });
  assert.is(result.interfaces?.[0]?.mac, mac);
  await node.stop('SIGKILL');
  await node.start(SERVED);
  assert.is((await runtime.call('CHECK', container, { prevResult: result, runtimeConfig })).status, 0);
  const server = "require('http').createServer((q, r) => r.end(Buffer.alloc(1e6))).listen(8081, '0.0.0.0')";
  cluster.start('dp-outside', [process.execPath, '-e', server]);
  // 8 Mbit at 4 Mbit/s, less what the bucket holds at first.
  const time = async () =>
    Number(await cluster.fetch(container.netns, 'http://172.18.0.1:8081/', '-o', '/dev/null', '-w', '%{time_total}'));
  const seconds = await eventually(time);
  assert.ok(seconds > 1 && seconds < 4, `${seconds} s`);
  await runtime.delete(container);
});

test('CHECK names what somebody has changed on the device', async () => {
  const pod = await makePod('changed');
  const result = await runtime.add(pod);
  const inPod = (...command: string[]) => output(run(['ip', '-n', pod.netns, ...command]));
  const failure = async (): Promise<string> => {
    const { status, stdout } = await runtime.call('CHECK', pod, { prevResult: result });
    assert.is(status, 1);
    assert.is(code(stdout), 102);
    return (JSON.parse(stdout) as { msg: string }).msg;
  };
  await inPod('address', 'flush', 'dev', 'eth0');
  assert.match(await failure(), `device eth0 has no address ${addressOf(result)}/24`);
  await inPod('link', 'set', 'eth0', 'down');
  assert.match(await failure(), 'device eth0 is down');
  await runtime.delete(pod);
});

test('configuration and plugin are replaced by a rename, the configuration last', () => {
  const [list, program] = [
    join(on.directories.configuration, '05-dataplane.conflist'),
    join(on.directories.programs, 'dataplane-cni'),
  ].map((path) => statSync(path).ctimeMs) as [number, number];
  assert.ok(program <= list, `plugin ${program}, configuration ${list}`);
  assert.equal(readdirSync(on.directories.configuration), ['05-dataplane.conflist']);
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
      await node.start(SERVED);
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
