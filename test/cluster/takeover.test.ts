/**
 * `dataplane agent --takeover` on a node that had kube-proxy and flannel: connections that kube-proxy has translated go on,
 * new ones are ours, and nothing of kube-proxy is left. kube-proxy is Kubernetes' own, in both of its modes.
 */
import type { ChildProcess } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { NodePlan } from '../../src/agent/footprint/plan.ts';
import { ApiClient } from '../../src/api/client/client.ts';
import { API_SOCKET } from '../../src/cluster/state.ts';
import { type Cluster, eventually, MAIN, output, run, startCluster } from '../lib/cluster.ts';
import { CONTINUITY_SERVER, ContinuityWatch } from '../lib/continuity.ts';
import { FormerNode, type ProxyMode, whyNoKubeProxy } from '../lib/former-node.ts';
import { peerOf } from '../lib/overlay/foreign-node.ts';
import { testUnless } from '../lib/test-unless.ts';

const test = suite<object>('takeover');
const scenario = testUnless(whyNoKubeProxy(), test);
const OUTSIDE = 'dp-outside';
const CONNECTIONS = 40;

let cluster: Cluster;
let client: ApiClient;

const pod = (name: string, node: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, labels: { app: 'echo' } },
  spec: { nodeName: node, containers: [{ name: 'main', image: 'process', command: CONTINUITY_SERVER }] },
});
const SERVICE = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'echo' },
  spec: {
    type: 'NodePort',
    selector: { app: 'echo' },
    ports: [
      { name: 'tcp', port: 7100, nodePort: 30700 },
      { name: 'udp', port: 7101, nodePort: 30701, protocol: 'UDP' },
      { name: 'http', port: 7180, nodePort: 30780 },
    ],
  },
};
/** An endpoint in the network of a node: the server runs in the outside world. */
const BESIDE = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'beside' },
  spec: {
    type: 'NodePort',
    ports: [
      { name: 'tcp', port: 7100, nodePort: 30710 },
      { name: 'udp', port: 7101, nodePort: 30711, protocol: 'UDP' },
    ],
  },
};
const BESIDE_SLICE = {
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: 'beside-1', labels: { 'kubernetes.io/service-name': 'beside' } },
  addressType: 'IPv4',
  endpoints: [{ addresses: ['172.18.0.1'], conditions: { ready: true } }],
  ports: [
    { name: 'tcp', port: 7100, protocol: 'TCP' },
    { name: 'udp', port: 7101, protocol: 'UDP' },
  ],
};

if (whyNoKubeProxy() === undefined) {
  test.before(async () => {
    const manifests = [pod('one', 'n1'), pod('two', 'n2'), SERVICE, BESIDE, BESIDE_SLICE];
    cluster = await startCluster({ args: ['--nodes', '2'], manifests });
    client = new ApiClient(API_SOCKET);
  });
  test.after(async () => {
    client?.close();
    await cluster?.down();
  });
}

/** wrk with a connection for each request; `report` ends it. */
class Load {
  private readonly child: ChildProcess;
  private text = '';

  constructor(netns: string, place: string) {
    const args = ['wrk', '-t', '1', '-c', '2', '-d', '120', '--timeout', '10', '-H', 'Connection: close'];
    this.child = cluster.start(netns, [...args, `http://${place}/`]);
    this.child.stdout?.setEncoding('utf8').on('data', (more: string) => {
      this.text += more;
    });
  }

  async report(): Promise<string> {
    const ended = new Promise((resolve) => this.child.once('close', resolve));
    this.child.kill('SIGINT');
    await ended;
    return this.text;
  }
}

/** As long as its traffic passes: resolves when both rules and routes serve. */
const served = (netns: string, place: string): Promise<unknown> =>
  eventually(async () => {
    const { status } = await run(['ip', 'netns', 'exec', netns, 'curl', '-sS', '--max-time', '2', `http://${place}/`]);
    return status === 0 ? true : undefined;
  }, 20_000);

const planOf = async ({ node }: FormerNode, inNode: FormerNode['exec']): Promise<NodePlan> =>
  JSON.parse(
    (
      await inNode(
        process.execPath,
        MAIN,
        'node',
        'plan',
        '--node',
        node.name,
        '--kubeconfig',
        node.kubeconfig,
        '--takeover',
        '-o',
        'json',
      )
    ).stdout,
  ) as NodePlan;

for (const [number, mode] of (['iptables', 'nftables'] as const satisfies readonly ProxyMode[]).entries()) {
  scenario(`from kube-proxy in ${mode} mode, without losing a connection, a flow or a request`, async () => {
    const former = new FormerNode(`k${number + 1}`, number + 1);
    const { node, netns } = former;
    const watches: ContinuityWatch[] = [];
    try {
      await former.make(cluster, client, [peerOf(1), peerOf(2)]);
      former.startProxy(mode);
      const nodeIP = `172.18.0.${61 + number}`;
      const { clusterIP } = (await client.get('Service', 'echo', 'default')).spec;
      await served(OUTSIDE, `${nodeIP}:30780`).catch((error) => assert.unreachable(`${error}\n${former.log}`));
      await served(netns, `${clusterIP}:7180`);

      // Long connections and flows: from outside and from the node itself to pods, and to an endpoint that is no pod.
      watches.push(new ContinuityWatch(OUTSIDE, undefined, nodeIP, CONNECTIONS, [30700, 30701]));
      watches.push(new ContinuityWatch(netns, undefined, clusterIP as string, CONNECTIONS));
      watches.push(new ContinuityWatch('dp-node-n1', OUTSIDE, nodeIP, CONNECTIONS, [30710, 30711]));
      await Promise.all(watches.map((watch) => watch.ready()));
      const loads = [new Load(OUTSIDE, `${nodeIP}:30780`), new Load(netns, `${clusterIP}:7180`)];

      const planned = await planOf(former, (...args) => former.exec(...args));
      assert.ok(planned.items.some(({ kind, withAgent }) => kind === 'kube-proxy' && /^removed/.test(withAgent)));
      assert.match(planned.conflicts.join('\n'), /kube-proxy runs \(pid \d+\)/);

      // It waits for the process, whose rules stay when it ends.
      const started = node.start();
      await eventually(async () => (/waiting for kube-proxy/.test(node.log) ? true : undefined), 30_000);
      assert.not.match((await former.exec('ip', 'link')).stdout, /dp0/);
      await former.stopProxy();
      await started;
      assert.match(node.log, /removed the rules of kube-proxy/);
      assert.match(node.log, /[1-9]\d* connections taken over from the kernel, [1-9]\d* left to it/);
      // flannel's device is no longer needed. Its removal ends what the kernel masqueraded by it.
      await output(former.exec('ip', 'link', 'del', 'flannel.1'));

      for (const [which, watch] of watches.entries()) {
        const { lost, sent, echoed, gapMs } = await watch.report('check');
        console.log(`${mode}, path ${which}: ${lost} connections lost, longest gap ${gapMs} ms`);
        assert.is(lost, 0, `path ${which}: ${node.log}`);
        assert.ok(echoed > 0 && sent > 0);
      }
      // What was sent since then has been echoed: the flows go on too.
      for (const watch of watches) {
        await eventually(async () => ((await watch.report()).echoed > 50 ? true : undefined), 20_000);
      }
      for (const load of loads) {
        const report = await load.report();
        assert.not.match(report, /Non-2xx|Socket errors/, report);
        assert.match(report, /[1-9]\d* requests in/);
      }
      const left = await former.exec('sh', '-c', 'iptables-save; nft list ruleset');
      assert.not.match(left.stdout, /KUBE-(SERVICES|NODEPORTS|SVC|SEP|POSTROUTING)|table ip6? kube-proxy/);
      await served(OUTSIDE, `${nodeIP}:30780`);
      await served(netns, `${clusterIP}:7180`);
      assert.equal((await planOf(former, (...args) => former.exec(...args))).conflicts, []);
    } finally {
      for (const watch of watches) watch.end();
      await former.remove();
    }
  });
}

test.run();
