/** Pods may tunnel among themselves: a VXLAN device inside each of two pods, on two nodes, carries bulk TCP. */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, podNetns, processPod, startCluster } from '../lib/cluster.ts';

const test = suite('tunnels of pods');
let cluster: Cluster;

const IP = { near: '10.244.1.2', far: '10.244.2.2' } as const;
const INNER = { near: '192.168.77.1', far: '192.168.77.2' } as const;

async function tunnel(pod: 'near' | 'far'): Promise<void> {
  const other = pod === 'near' ? 'far' : 'near';
  const vxlan = ['id', '42', 'dstport', '5000', 'local', IP[pod], 'remote', IP[other], 'dev', 'eth0'];
  for (const args of [
    ['link', 'add', 'vx0', 'type', 'vxlan', ...vxlan],
    ['addr', 'add', `${INNER[pod]}/24`, 'dev', 'vx0'],
    ['link', 'set', 'vx0', 'up'],
  ]) {
    const { status, stderr } = await cluster.exec(podNetns(pod), ['ip', ...args]);
    assert.is(status, 0, stderr);
  }
}

test.before(async () => {
  const idle = (name: string, node: string) => processPod(name, node, ['sleep', 'infinity']);
  cluster = await startCluster({ manifests: [idle('near', 'n1'), idle('far', 'n2')] });
  await tunnel('near');
  await tunnel('far');
});
test.after(() => cluster.down());

test('megabytes of TCP through a tunnel inside the overlay', async () => {
  cluster.start(podNetns('far'), ['iperf3', '-s', '-1']);
  await sleep(500);
  const args = ['iperf3', '-c', INNER.far, '-n', '20M', '-J', '--connect-timeout', '3000'];
  const { status, stdout } = await cluster.exec(podNetns('near'), args, { timeoutMs: 15_000 });
  assert.is(status, 0, stdout);
  assert.ok(JSON.parse(stdout).end.sum_received.bytes > 15_000_000);
  for (const { workers } of (await cluster.status()).nodes) {
    for (const { drops } of workers) assert.is(drops['offload-invalid'] ?? 0, 0);
  }
});

test.run();
