/**
 * The demo as its user runs it: the manifests of demo/, a cluster brought up as by demo/run.sh, the page fetched from
 * everywhere, ten restarts of nginx, and the port that is not exposed.
 */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Pod, Service } from '../../src/api/types/objects.ts';
import { type Cluster, eventually, nodeNetns, podNetns, ROOT, startCluster } from '../lib/cluster.ts';
import { leftovers } from '../lib/leftovers.ts';

const PAGE = 'Hello world!';
const OUTSIDE_URL = 'http://172.18.0.11:31418/';
const POD_IP = '10.244.1.2';

const demo = suite('demo');
let cluster: Cluster;
let clusterIp = '';

demo.before(async () => {
  // The arguments in demo/run.sh, read from the script so that the two cannot diverge.
  const script = readFileSync(join(ROOT, 'demo/run.sh'), 'utf8');
  const args = /^dataplane up (.*)$/m.exec(script)?.[1]?.split(' ') ?? [];
  assert.ok(args.includes('declared') && args.includes('demo/'), args.join(' '));
  cluster = await startCluster({ args });
  await cluster.cli('expose', 'pod', 'mc3', '--type', 'NodePort', '--port', '80', '--node-port', '31418');
  clusterIp = (await cluster.get<Service>('service', 'mc3')).spec.clusterIP ?? '';
});
demo.after(async () => {
  await cluster.down(); // Throws when something is left.
  assert.equal(leftovers(), []);
});

const mc3 = () => cluster.get<Pod>('pod', 'mc3');
const restartsOf = (pod: Pod, name: string) =>
  pod.status?.containerStatuses?.find((container) => container.name === name)?.restartCount ?? 0;

/** How often each reason was counted by a node's workers. */
async function drops(node: string): Promise<Record<string, number>> {
  const { nodes } = await cluster.status();
  const sum: Record<string, number> = {};
  for (const worker of nodes.find(({ name }) => name === node)?.workers ?? []) {
    for (const [reason, count] of Object.entries(worker.drops)) sum[reason] = (sum[reason] ?? 0) + count;
  }
  return sum;
}

demo('the page, five ways', async () => {
  const ways: [string, string][] = [
    ['dp-outside', OUTSIDE_URL],
    ['dp-outside', 'http://172.18.0.12:31418/'],
    [nodeNetns('n1'), OUTSIDE_URL],
    [nodeNetns('n1'), 'http://127.0.0.1:31418/'],
    [podNetns('client'), `http://${clusterIp}/`],
  ];
  for (const [netns, url] of ways) {
    assert.is(await eventually(() => cluster.fetch(netns, url), 5000), PAGE, `${netns} ${url}`);
  }
});

demo('both containers share the pod: its name, its loopback', async () => {
  for (const container of ['webapp', 'nginx']) {
    assert.is(await cluster.cli('exec', 'mc3', '-c', container, '--', 'hostname'), 'mc3\n');
  }
  const port = (container: string, number: number) =>
    cluster.cli('exec', 'mc3', '-c', container, '--', 'curl', '-sS', '--max-time', '3', `http://localhost:${number}/`);
  assert.is(await port('nginx', 5000), PAGE);
  assert.is(await port('webapp', 80), PAGE);
});

demo('what nginx does not pass on cannot be reached: port 5000', async () => {
  for (const netns of [podNetns('client'), nodeNetns('n1'), nodeNetns('n2'), 'dp-outside']) {
    const before = (await drops('n1'))['port-not-declared'] ?? 0;
    const curl = await cluster.exec(netns, ['curl', '-sS', '--max-time', '3', `http://${POD_IP}:5000/`]);
    // The outside has no route to pods by default; curl reports that at once too.
    assert.is(curl.status, 7, `${netns}: ${curl.stderr}`);
    const counted = ((await drops('n1'))['port-not-declared'] ?? 0) - before;
    assert.is(counted > 0, netns !== 'dp-outside', `${netns}: counted ${counted}`);
  }
});

demo('from outside with a route to the pods, port 5000 is refused and counted', async () => {
  const route = ['ip', 'route', 'replace', '10.244.1.0/24', 'via', '172.18.0.11'];
  assert.is((await cluster.exec('dp-outside', route)).status, 0);
  const before = (await drops('n1'))['port-not-declared'] ?? 0;
  const refused = await cluster.exec('dp-outside', ['curl', '-sS', '--max-time', '3', `http://${POD_IP}:5000/`]);
  const allowed = await cluster.exec('dp-outside', ['curl', '-sS', '--max-time', '3', `http://${POD_IP}/`]);
  await cluster.exec('dp-outside', ['ip', 'route', 'del', '10.244.1.0/24']);
  assert.is(refused.status, 7, refused.stderr);
  assert.is(allowed.stdout, PAGE, allowed.stderr);
  assert.ok(((await drops('n1'))['port-not-declared'] ?? 0) > before);
});

demo('ping and traceroute across the nodes', async () => {
  const ping = await cluster.exec(podNetns('client'), ['ping', '-c', '3', '-i', '0.2', '-W', '2', POD_IP]);
  assert.match(ping.stdout, /3 (packets )?received/, ping.stdout);
  const trace = await cluster.exec(podNetns('client'), ['traceroute', '-n', '-q', '1', '-w', '2', POD_IP]);
  const hops = trace.stdout
    .split('\n')
    .slice(1)
    .flatMap((line) => /^ *\d+ +(\S+)/.exec(line)?.[1] ?? []);
  assert.equal(hops, ['10.244.2.1', '10.244.1.1', POD_IP], trace.stdout + trace.stderr);
});

demo('ten restarts of nginx: no fetch hangs, the page comes back, the network stays', async () => {
  const before = await mc3();
  const netns = statSync(`/run/netns/${podNetns('mc3')}`).ino;
  const fetches: { ms: number; status: number; text: string }[] = [];
  let restarting = true;
  const fetchAll = async () => {
    while (restarting) {
      const started = Date.now();
      const curl = await cluster.exec('dp-outside', ['curl', '-sS', '--max-time', '3', OUTSIDE_URL]);
      fetches.push({ ms: Date.now() - started, status: curl.status, text: curl.stdout || curl.stderr.trim() });
    }
  };
  const loop = fetchAll();
  try {
    for (let restart = 1; restart <= 10; restart++) {
      await cluster.cli('restart', 'mc3', '-c', 'nginx');
      await eventually(async () => (restartsOf(await mc3(), 'nginx') >= restart ? true : undefined));
      const seen = fetches.length;
      await eventually(async () => (fetches.slice(seen).some(({ text }) => text === PAGE) ? true : undefined), 8000);
    }
  } finally {
    restarting = false;
    await loop;
  }
  // 28: curl's own timeout of 3 s, without a response.
  assert.equal(
    fetches.filter(({ status }) => status === 28),
    [],
  );
  const longest = Math.max(...fetches.map(({ ms }) => ms));
  assert.ok(longest < 3000, `the longest took ${longest} ms`);
  const answered = fetches.filter(({ text }) => text === PAGE).length;
  assert.ok(answered >= 10, `${answered} of ${fetches.length}`);

  const after = await mc3();
  assert.is(after.status?.podIP, before.status?.podIP);
  assert.is(after.metadata.uid, before.metadata.uid);
  assert.is(statSync(`/run/netns/${podNetns('mc3')}`).ino, netns);
  assert.is(restartsOf(after, 'nginx'), 10);
  assert.is(restartsOf(after, 'webapp'), 0);
});

demo.run();
