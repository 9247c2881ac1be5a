/**
 * A node drained from flannel to ours and back, under load: first it has flannel's data path, as its daemon makes it, then our
 * agent, then flannel's again. No request fails.
 */
import type { ChildProcess } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../src/api/client/client.ts';
import type { EndpointSlice } from '../../src/api/types/objects.ts';
import { API_SOCKET } from '../../src/cluster/state.ts';
import { type Cluster, eventually, MAIN, output, run, startCluster } from '../lib/cluster.ts';
import { CONTINUITY_SERVER } from '../lib/continuity.ts';
import { FormerNode } from '../lib/former-node.ts';
import { peerOf } from '../lib/overlay/foreign-node.ts';

const test = suite<object>('drain');
const OUTSIDE = 'dp-outside';
const NODE = 'f1';
const NODE_PORT = 30780;
const HTTP_PORT = 7180;
const SLICE = 'web-flannel';

const pod = (name: string, node: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'default', labels: { app: 'web' } },
  spec: {
    nodeName: node,
    terminationGracePeriodSeconds: 10,
    containers: [
      {
        name: 'main',
        image: 'process',
        command: CONTINUITY_SERVER,
        readinessProbe: { httpGet: { path: '/', port: HTTP_PORT }, periodSeconds: 1 },
        lifecycle: { preStop: { sleep: { seconds: 2 } } },
      },
    ],
  },
});
const SERVICE = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web' },
  spec: {
    type: 'NodePort',
    selector: { app: 'web' },
    ports: [{ name: 'http', port: 80, targetPort: HTTP_PORT, nodePort: NODE_PORT }],
  },
};
/** The endpoint on flannel's node, as the endpoint-slice controller would state it if kubelet ran that pod. */
const sliceOf = (address: string, ready: boolean) =>
  ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: SLICE, namespace: 'default', labels: { 'kubernetes.io/service-name': 'web' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: [address], nodeName: NODE, conditions: { ready, serving: true, terminating: !ready } }],
    ports: [{ name: 'http', port: HTTP_PORT, protocol: 'TCP' }],
  }) as unknown as EndpointSlice;

type Flow = { reply: { src: string }; state: string };

test('a node goes from flannel to ours and back under wrk: no request fails', async () => {
  const cluster: Cluster = await startCluster({ args: ['--nodes', '2'], manifests: [pod('one', 'n1'), SERVICE] });
  const client = new ApiClient(API_SOCKET);
  const former = new FormerNode(NODE, 1);
  const peers = [peerOf(1), peerOf(2)];
  const loads: ChildProcess[] = [];
  try {
    await former.make(cluster, client, peers);
    await former.startPod(CONTINUITY_SERVER);
    const { podIP, node } = former;
    const answers = (from: string): Promise<string> => {
      const command = ['curl', '-sS', '--max-time', '2', `http://${podIP}:${HTTP_PORT}/`];
      return eventually(() => output(run(['ip', 'netns', 'exec', from, ...command])), 30_000);
    };
    await answers('dp-node-n1');
    await client.create(sliceOf(podIP, true));

    const reports = ['172.18.0.11', '172.18.0.12'].map((address) => {
      const args = ['wrk', '-t', '1', '-c', '2', '-d', '280', '--timeout', '10', '-H', 'Connection: close'];
      const child = cluster.start(OUTSIDE, [...args, `http://${address}:${NODE_PORT}/`]);
      loads.push(child);
      let text = '';
      child.stdout?.setEncoding('utf8').on('data', (more: string) => {
        text += more;
      });
      return new Promise<string>((resolve) => child.once('close', () => resolve(text)));
    });
    /** The connections of node n1 to this pod. */
    const flowsTo = async (address: string): Promise<Flow[]> => {
      const flows = JSON.parse(await cluster.cli('conntrack', 'list', '--node', 'n1', '-o', 'json')) as Flow[];
      return flows.filter(({ reply }) => reply.src === address);
    };
    const isServing = (address: string): Promise<true> =>
      eventually(async () => ((await flowsTo(address)).length > 0 ? true : undefined), 20_000);
    await isServing(podIP);

    // Drain: the endpoint terminates, so new connections go elsewhere; those that are open end; then flannel goes.
    const { endpoints } = sliceOf(podIP, false);
    await client.patch('EndpointSlice', SLICE, { endpoints }, { namespace: 'default' });
    await eventually(async () => {
      const open = (await flowsTo(podIP)).some(({ state }) => ['SYN_SENT', 'SYN_RECV', 'ESTABLISHED'].includes(state));
      return open ? undefined : true;
    }, 20_000);
    await client.delete('EndpointSlice', SLICE, { namespace: 'default' });
    await former.stopPod();
    await former.stopFlannel();

    // Ours: a pod that the agent runs.
    await node.start();
    await client.create(pod('two', NODE) as never);
    const ours = await eventually(async () => {
      const { status } = await client.get('Pod', 'two', 'default');
      const isReady = status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True');
      return isReady ? status?.podIP : undefined;
    }, 30_000);
    await isServing(ours);

    // And back.
    await client.delete('Pod', 'two', { namespace: 'default' });
    await eventually(
      async () => ((await client.find('Pod', 'two', 'default')) === undefined ? true : undefined),
      30_000,
    );
    await node.stop();
    await output(
      former.exec(process.execPath, MAIN, 'node', 'reset', '--node', NODE, '--state', `${node.directory}/state`),
    );
    await former.startFlannel(client, peers);
    await former.startPod(CONTINUITY_SERVER);
    await answers('dp-node-n2');
    await client.create(sliceOf(podIP, true));
    await isServing(podIP);

    for (const load of loads) load.kill('SIGINT');
    for (const report of await Promise.all(reports)) {
      assert.match(report, /[1-9]\d* requests in/);
      assert.not.match(report, /Non-2xx|Socket errors/, report);
    }
  } finally {
    for (const load of loads) load.kill('SIGKILL');
    await former.remove();
    client.close();
    await cluster.down();
  }
});

test.run();
