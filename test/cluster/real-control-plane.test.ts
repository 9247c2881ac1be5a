/**
 * Two of our agents as nodes of a cluster whose control plane is Kubernetes' own, of version 1.34 or newer: etcd,
 * kube-apiserver, kube-controller-manager, kube-scheduler.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { eventually, nodeNetns, podNetns } from '../lib/cluster.ts';
import { ControlPlane, whyNoControlPlane } from '../lib/control-plane.ts';

const why = whyNoControlPlane();
const test = suite('real control plane');
if (why !== undefined) {
  console.log(`skipped: ${why}`);
  test.skip('two agents, the demo, services, a rolling Deployment, policies', () => {});
}
const scenario = why === undefined ? test : suite('not run');

let plane: ControlPlane;
const OUTSIDE = 'dp-outside';
const NODE_PORT = 31418;

scenario.before(async () => {
  plane = new ControlPlane(2);
  await plane.start();
  for (const { name } of plane.nodes) plane.startAgent(name);
  await plane.kubectl(['wait', '--for=condition=Ready', 'nodes', '--all', '--timeout=60s']).catch(() => {});
  await eventually(async () => {
    const nodes = await plane.kubectl(['get', 'nodes', '--no-headers']);
    return nodes.match(/ Ready /g)?.length === plane.nodes.length ? true : undefined;
  }, 60_000);
});
scenario.after(() => plane?.remove());

const fetch = (netns: string, url: string): Promise<string> => plane.exec(netns, 'curl', '-sS', '--max-time', '2', url);
const apply = (...manifests: object[]): Promise<string> =>
  plane.kubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests }));
const rolledOut = (name: string): Promise<string> =>
  plane.kubectl(['rollout', 'status', `deployment/${name}`, '--timeout=60s']);
/** The agent's log, for a message. */
const logs = (): string => plane.nodes.map(({ name }) => plane.logOf(`agent-${name}`).slice(-2000)).join('\n');

const SERVER = "require('http').createServer((q, r) => r.end(process.env.RELEASE)).listen(8080)";

const deployment = (name: string, release: string, replicas = 2): object => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name, namespace: 'default' },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
    template: {
      metadata: { labels: { app: name } },
      spec: {
        terminationGracePeriodSeconds: 5,
        containers: [
          {
            name: 'main',
            image: 'process',
            command: [process.execPath, '-e', SERVER],
            env: [{ name: 'RELEASE', value: release }],
            ports: [{ containerPort: 8080 }],
            readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
            lifecycle: { preStop: { sleep: { seconds: 2 } } },
          },
        ],
      },
    },
  },
});

const service = (name: string, nodePort: number, port: number): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default' },
  spec: { type: 'NodePort', selector: { app: name }, ports: [{ port: 80, targetPort: port, nodePort }] },
});

/** Requests one after the other, each by a connection of its own, until it is stopped. */
class Requests {
  private readonly child: ChildProcess;
  private output = '';

  constructor(netns: string, url: string) {
    const loop = `while :; do curl -sS --max-time 2 ${url} > /dev/null 2>&1 && echo ok || echo failed; sleep 0.02; done`;
    this.child = spawn('ip', ['netns', 'exec', netns, 'sh', '-c', loop], { stdio: ['ignore', 'pipe', 'ignore'] });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
    });
  }

  async stop(): Promise<{ ok: number; failed: number }> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await ended;
    const count = (word: string): number => this.output.split('\n').filter((line) => line === word).length;
    return { ok: count('ok'), failed: count('failed') };
  }
}

scenario(
  'the story: nginx before a webapp in one pod, by NodePort from outside and from a node, by ClusterIP from a pod',
  async () => {
    await plane.kubectl(['apply', '-f', 'demo/client.yaml', '-f', 'demo/mc3.yaml']);
    await plane.kubectl(['wait', '--for=condition=Ready', 'pod/mc3', 'pod/client', '--timeout=60s']);
    await plane.kubectl([
      ...['expose', 'pod', 'mc3', '--type', 'NodePort', '--port', '80'],
      ...['--overrides', JSON.stringify({ apiVersion: 'v1', spec: { ports: [{ port: 80, nodePort: NODE_PORT }] } })],
    ]);
    for (const { ip } of plane.nodes) {
      assert.match(
        await eventually(() => fetch(OUTSIDE, `http://${ip}:${NODE_PORT}/`), 20_000),
        'Hello world!',
        logs(),
      );
    }
    assert.match(await fetch(nodeNetns('n2'), `http://127.0.0.1:${NODE_PORT}/`), 'Hello world!');
    const clusterIP = await plane.kubectl(['get', 'service', 'mc3', '-o', 'jsonpath={.spec.clusterIP}']);
    assert.match(await fetch(podNetns('client'), `http://${clusterIP}/`), 'Hello world!');
  },
);

scenario('a pod reaches the API server by Service kubernetes, with the token that it is given', async () => {
  const account = '/var/run/secrets/kubernetes.io/serviceaccount';
  const script = `curl -sS --max-time 5 --cacert ${account}/ca.crt -H "Authorization: Bearer $(cat ${account}/token)" https://10.96.0.1/version`;
  await apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'asks', namespace: 'default' },
    spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'process', command: ['sh', '-c', script] }] },
  });
  const answered = '{.status.containerStatuses[0].state.terminated.exitCode}';
  const status = await eventually(async () => {
    const code = await plane.kubectl(['get', 'pod', 'asks', '-o', `jsonpath=${answered}`]);
    return code === '' ? undefined : code;
  }, 30_000);
  assert.is(status, '0', logs());
});

scenario('a Deployment is rolled over under load without a failed request', async () => {
  await apply(deployment('web', 'one'), service('web', 31080, 8080));
  await rolledOut('web');
  const url = `http://${plane.nodes[0]?.ip}:31080/`;
  assert.is(await eventually(() => fetch(OUTSIDE, url)), 'one');
  const requests = new Requests(OUTSIDE, url);
  await apply(deployment('web', 'two'));
  await rolledOut('web');
  await eventually(async () => ((await fetch(OUTSIDE, url)) === 'two' ? true : undefined), 20_000);
  const { ok, failed } = await requests.stop();
  assert.is(failed, 0, `${failed} of ${ok + failed} requests failed\n${logs()}`);
  assert.ok(ok > 20, `only ${ok} requests`);
});

scenario(
  'the API server is killed three times under load: no request fails, and what changed meanwhile is in force after',
  async () => {
    const url = `http://${plane.nodes[1]?.ip}:31080/`;
    const requests = new Requests(OUTSIDE, url);
    for (let round = 0; round < 3; round++) {
      await plane.stop('apiserver', 'SIGKILL');
      await sleep(1000);
      plane.startApiServer();
      await plane.whenReady();
    }
    const { ok, failed } = await requests.stop();
    assert.is(failed, 0, `${failed} of ${ok + failed} requests failed\n${logs()}`);
    await apply(service('later', 31090, 8080), deployment('later', 'later', 1));
    await rolledOut('later');
    assert.is(await eventually(() => fetch(OUTSIDE, `http://${plane.nodes[0]?.ip}:31090/`)), 'later');
  },
);

scenario('a NetworkPolicy of the cluster is enforced on both nodes, and its end is noticed', async () => {
  const deny = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'deny', namespace: 'default' },
    spec: { podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Ingress'] },
  };
  const clusterIP = await plane.kubectl(['get', 'service', 'web', '-o', 'jsonpath={.spec.clusterIP}']);
  const reached = () =>
    fetch(podNetns('client'), `http://${clusterIP}/`).then(
      () => true,
      () => false,
    );
  assert.is(await reached(), true);
  await apply(deny);
  await eventually(async () => ((await reached()) ? undefined : true));
  for (let i = 0; i < 3; i++) assert.is(await reached(), false);
  await plane.kubectl(['delete', 'networkpolicy', 'deny']);
  await eventually(async () => ((await reached()) ? true : undefined));
});

scenario('the agent is killed and started again: its pods keep running, and connections pass', async () => {
  const restarts = () =>
    plane.kubectl(['get', 'pods', '-o', 'jsonpath={.items[*].status.containerStatuses[*].restartCount}']);
  const before = await restarts();
  await plane.stop('agent-n1', 'SIGKILL');
  plane.startAgent('n1');
  await eventually(() => fetch(OUTSIDE, `http://${plane.nodes[0]?.ip}:${NODE_PORT}/`), 20_000);
  assert.is(await restarts(), before);
});

scenario(
  'Node and pods carry what Kubernetes expects: conditions, Lease, addresses, and the annotations of flannel',
  async () => {
    const lease = await plane.kubectl([
      'get',
      'lease',
      'n1',
      '-n',
      'kube-node-lease',
      '-o',
      'jsonpath={.spec.holderIdentity}',
    ]);
    assert.is(lease, 'n1');
    const text = await plane.kubectl(['get', 'node', 'n1', '-o', 'json']);
    const node = JSON.parse(text) as {
      metadata: { annotations: Record<string, string> };
      spec: { podCIDR: string; taints?: { key: string }[] };
      status: { conditions: { type: string; status: string }[] };
    };
    assert.is(node.status.conditions.find(({ type }) => type === 'Ready')?.status, 'True');
    assert.is(node.metadata.annotations['flannel.alpha.coreos.com/backend-type'], 'vxlan');
    assert.equal(node.spec.taints ?? [], []);
    assert.match(await plane.kubectl(['get', 'pods', '-o', 'jsonpath={.items[*].status.podIP}']), /^10\.244\./);
  },
);

test.run();
