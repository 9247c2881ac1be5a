/** The shortcut between wire and dp0, and the same cluster without it: they differ only in speed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, nodeNetns, output, podNetns, processPod, run, startCluster } from '../lib/cluster.ts';

const SERVE = `require('http').createServer((q, r) => r.end(q.socket.remoteAddress)).listen(80);`;
const NODE_PORT = 31080;

const service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'default' },
  spec: { type: 'NodePort', selector: { app: 'web' }, ports: [{ port: 80, nodePort: NODE_PORT }] },
};

const nft = (...args: string[]) => run(['ip', 'netns', 'exec', nodeNetns('n1'), 'nft', ...args]);

/** TTL of the SYNs that reach the pod from outside, through n1 and through n2. */
async function ttls(cluster: Cluster): Promise<number[]> {
  const args = ['timeout', '4', 'tcpdump', '-Z', 'root', '-ni', 'eth0', '-v', '-c', '2', 'tcp[tcpflags] == tcp-syn'];
  const capture = run(['ip', 'netns', 'exec', podNetns('web'), ...args], { timeoutMs: 8000 });
  await sleep(1000);
  for (const node of ['172.18.0.11', '172.18.0.12']) await cluster.fetch('dp-outside', `http://${node}:${NODE_PORT}/`);
  return [...(await capture).stdout.matchAll(/ttl (\d+)/g)].map((match) => Number(match[1]));
}

async function withCluster(args: string[], work: (cluster: Cluster) => Promise<void>): Promise<void> {
  const manifests = [processPod('web', 'n1', [process.execPath, '-e', SERVE]), service];
  const cluster = await startCluster({ args: ['--nodes', '2', ...args], manifests });
  try {
    await cluster.fetch('dp-outside', `http://172.18.0.11:${NODE_PORT}/`, '--retry', '20', '--retry-connrefused');
    await work(cluster);
  } finally {
    await cluster.down();
  }
}

const test = suite('underlay shortcut');

test('each router decrements the TTL once: n1, and n2 and n1', async () => {
  await withCluster([], async (cluster) => {
    assert.match(await output(nft('list', 'table', 'netdev', 'dataplane')), /fwd to "dp0"/);
    assert.equal(await ttls(cluster), [63, 62]);
    // After a flush of nftables, rules and routes still forward.
    await output(nft('delete', 'table', 'netdev', 'dataplane'));
    assert.equal(await ttls(cluster), [63, 62]);
  });
});

test('--no-underlay-shortcut: nftables hands no frame from device to device, the same network', async () => {
  await withCluster(['--no-underlay-shortcut'], async (cluster) => {
    // The node's table `ip dataplane` (firewall.ts) is there either way.
    assert.is((await output(nft('list', 'tables', 'netdev'))).trim(), '');
    assert.equal(await ttls(cluster), [63, 62]);
  });
});

test.run();
