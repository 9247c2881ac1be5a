/**
 * A whole Kubernetes without kube-proxy and without a bridge: its control plane, and two nodes with kubelet and containerd,
 * whose pods our agents connect by CNI and whose Services they forward.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { eventually, run } from '../lib/cluster.ts';
import { IMAGE } from '../lib/cni/containerd.ts';
import { CLUSTER_DNS, KubeletNode, whyNoKubelet } from '../lib/cni/kubelet-node.ts';
import { ControlPlane, whyNoControlPlane } from '../lib/control-plane.ts';
import { testUnless } from '../lib/test-unless.ts';

const COREDNS = process.env.COREDNS;
const test = suite<object>('kubelet');
const why = whyNoControlPlane() ?? whyNoKubelet();
const scenario = testUnless(why, test);
const named = testUnless(why ?? (COREDNS ? undefined : 'COREDNS not set (scripts/install-control-plane.sh)'), test);
const OUTSIDE = 'dp-outside';
const NODE_PORT = 31080;
const DNS_IMAGE = 'dataplane.test/coredns:1';

let plane: ControlPlane;
let nodes: KubeletNode[] = [];

const apply = (...items: object[]): Promise<string> =>
  plane.kubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
const rolledOut = (name: string, ...more: string[]): Promise<string> =>
  plane.kubectl(['rollout', 'status', `deployment/${name}`, '--timeout=120s', ...more]).catch(async (error) => {
    throw new Error(`${error}\n${await state()}`);
  });
const fetch = (netns: string, url: string): Promise<string> => plane.exec(netns, 'curl', '-sS', '--max-time', '2', url);

/** What a failure is explained by. */
async function state(): Promise<string> {
  const { stdout } = await plane.tryKubectl('get', 'nodes,pods,events', '-A', '-o', 'wide');
  const logs = nodes.flatMap(({ name }) => [`kubelet-${name}`, `agent-${name}`]);
  return [stdout, ...logs.map((name) => `--- ${name}\n${plane.logOf(name).slice(-3000)}`)].join('\n');
}

if (why === undefined) {
  test.before(async () => {
    plane = new ControlPlane(2);
    await plane.start();
    nodes = plane.nodes.map(({ name }) => new KubeletNode(plane, name));
    for (const [index, node] of nodes.entries()) {
      await node.start(plane.nodes[index]?.ip as string);
      if (COREDNS) await node.containerd.importProgram(DNS_IMAGE, COREDNS);
    }
    await eventually(async () => {
      const ready = await plane.kubectl(['get', 'nodes', '--no-headers']);
      return ready.match(/ Ready /g)?.length === nodes.length ? true : undefined;
    }, 120_000).catch(async (error) => {
      throw new Error(`${error}\n${await state()}`);
    });
  });
  test.after(async () => {
    if (process.env.KUBELET_DEBUG) console.log(await state());
    await plane?.tryKubectl('delete', 'deployments,pods', '--all', '-A', '--wait', '--timeout=30s', '--grace-period=1');
    for (const node of nodes) await node.remove();
    await plane?.remove();
  });
}

const deployment = (release: string): object => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace: 'default' },
  spec: {
    replicas: 4,
    selector: { matchLabels: { app: 'web' } },
    strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
    template: {
      metadata: { labels: { app: 'web' } },
      spec: {
        terminationGracePeriodSeconds: 5,
        topologySpreadConstraints: [
          {
            maxSkew: 1,
            topologyKey: 'kubernetes.io/hostname',
            whenUnsatisfiable: 'DoNotSchedule',
            labelSelector: { matchLabels: { app: 'web' } },
            matchLabelKeys: ['pod-template-hash'],
          },
        ],
        containers: [
          {
            name: 'main',
            image: IMAGE,
            imagePullPolicy: 'Never',
            command: ['/bin/sh', '-c', `echo ${release} > /tmp/index.html; exec /bin/busybox httpd -f -p 8080 -h /tmp`],
            ports: [{ containerPort: 8080 }],
            readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
            lifecycle: { preStop: { sleep: { seconds: 2 } } },
          },
        ],
      },
    },
  },
});
const SERVICE = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'default' },
  spec: { type: 'NodePort', selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080, nodePort: NODE_PORT }] },
};

scenario(
  'a Deployment runs on both nodes, and its Service is reached from outside, from nodes and from pods',
  async () => {
    await apply(deployment('one'), SERVICE);
    await rolledOut('web');
    const on = await plane.kubectl(['get', 'pods', '-l', 'app=web', '-o', 'jsonpath={.items[*].spec.nodeName}']);
    assert.equal(on.split(' ').sort(), ['n1', 'n1', 'n2', 'n2']);
    for (const { ip } of plane.nodes) {
      assert.is((await eventually(() => fetch(OUTSIDE, `http://${ip}:${NODE_PORT}/`), 20_000)).trim(), 'one');
    }
    const clusterIP = await plane.kubectl(['get', 'service', 'web', '-o', 'jsonpath={.spec.clusterIP}']);
    assert.is((await fetch(nodes[1]?.netns as string, `http://${clusterIP}/`)).trim(), 'one');
    // kubectl exec: the API server reaches kubelet, kubelet containerd.
    for (let i = 0; i < 8; i++) {
      const text = await plane.kubectl(['exec', 'deployment/web', '--', 'wget', '-qO-', `http://${clusterIP}/`]);
      assert.is(text.trim(), 'one');
    }
  },
);

scenario('nothing of kube-proxy and no bridge is on the nodes', async () => {
  for (const { netns } of nodes) {
    const links = await plane.exec(netns, 'ip', '-d', '-o', 'link');
    assert.not.match(links, /\bbridge |cni0|vxlan id/);
    const rules = await run(['ip', 'netns', 'exec', netns, 'sh', '-c', 'iptables-save; nft list ruleset']);
    assert.not.match(rules.stdout, /KUBE-(SERVICES|NODEPORTS)|table ip kube-proxy/);
  }
});

scenario('a rolling update under load: no request fails', async () => {
  const url = `http://${plane.nodes[0]?.ip}:${NODE_PORT}/`;
  const args = ['wrk', '-t', '1', '-c', '2', '-d', '120', '--timeout', '10', '-H', 'Connection: close', url];
  const load: ChildProcess = spawn('ip', ['netns', 'exec', OUTSIDE, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  let report = '';
  load.stdout?.setEncoding('utf8').on('data', (text: string) => {
    report += text;
  });
  await apply(deployment('two'));
  await rolledOut('web');
  await eventually(async () => ((await fetch(OUTSIDE, url)).trim() === 'two' ? true : undefined), 30_000);
  const ended = new Promise((resolve) => load.once('close', resolve));
  load.kill('SIGINT');
  await ended;
  assert.match(report, /[1-9]\d* requests in/);
  assert.not.match(report, /Non-2xx|Socket errors/, report);
});

named('CoreDNS resolves Services for pods', async () => {
  const account = { name: 'coredns', namespace: 'kube-system' };
  const resources = ['endpoints', 'services', 'pods', 'namespaces'];
  await apply(
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: account },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: 'coredns' },
      rules: [
        { apiGroups: [''], resources, verbs: ['list', 'watch'] },
        { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
      ],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: 'coredns' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'coredns' },
      subjects: [{ kind: 'ServiceAccount', ...account }],
    },
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: account,
      data: { Corefile: '.:53 {\n errors\n ready\n kubernetes cluster.local in-addr.arpa\n}\n' },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: account,
      spec: {
        selector: { matchLabels: { 'k8s-app': 'kube-dns' } },
        template: {
          metadata: { labels: { 'k8s-app': 'kube-dns' } },
          spec: {
            serviceAccountName: 'coredns',
            dnsPolicy: 'Default',
            containers: [
              {
                name: 'coredns',
                image: DNS_IMAGE,
                imagePullPolicy: 'Never',
                args: ['-conf', '/config/Corefile'],
                readinessProbe: { httpGet: { path: '/ready', port: 8181 }, periodSeconds: 1 },
                volumeMounts: [{ name: 'config', mountPath: '/config' }],
              },
            ],
            volumes: [{ name: 'config', configMap: { name: 'coredns' } }],
          },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'kube-dns', namespace: 'kube-system' },
      spec: {
        clusterIP: CLUSTER_DNS,
        selector: { 'k8s-app': 'kube-dns' },
        ports: [
          { name: 'dns', port: 53, protocol: 'UDP' },
          { name: 'dns-tcp', port: 53 },
        ],
      },
    },
  );
  await rolledOut('coredns', '-n', 'kube-system');
  // Not wget: a static program cannot load the C library's resolver.
  const ask = (): Promise<string> =>
    plane.kubectl(['exec', 'deployment/web', '--', '/bin/busybox', 'nslookup', 'web.default.svc.cluster.local']);
  const clusterIP = await plane.kubectl(['get', 'service', 'web', '-o', 'jsonpath={.spec.clusterIP}']);
  const text = await eventually(ask, 20_000).catch(async (error) => assert.unreachable(`${error}\n${await state()}`));
  assert.match(`${text}`, new RegExp(`Address[^\\n]*: ${clusterIP}\\b`));
  assert.match(`${text}`, new RegExp(`Server:\\s+${CLUSTER_DNS}\\b`));
});

scenario('kubectl logs', async () => {
  await plane.kubectl([
    'run',
    'says',
    '--image',
    IMAGE,
    '--image-pull-policy',
    'Never',
    '--restart',
    'Never',
    '--command',
    '--',
    '/bin/sh',
    '-c',
    'echo words',
  ]);
  await plane.kubectl(['wait', '--for=jsonpath={.status.phase}=Succeeded', 'pod/says', '--timeout=60s']);
  assert.is((await plane.kubectl(['logs', 'says'])).trim(), 'words');
});

scenario('a NetworkPolicy is enforced', async () => {
  const url = `http://${plane.nodes[1]?.ip}:${NODE_PORT}/`;
  const reached = () =>
    fetch(OUTSIDE, url).then(
      () => true,
      () => false,
    );
  assert.is(await reached(), true);
  await apply({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'deny', namespace: 'default' },
    spec: { podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Ingress'] },
  });
  await eventually(async () => ((await reached()) ? undefined : true), 20_000);
  await plane.kubectl(['delete', 'networkpolicy', 'deny']);
  await eventually(async () => ((await reached()) ? true : undefined), 20_000);
});

test.run();
