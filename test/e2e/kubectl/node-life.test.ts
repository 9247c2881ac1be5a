/**
 * Nodes that are deleted, cordoned, drained and tainted, and a controller that dies: forwarding goes on, and all comes
 * back.
 */
import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { KubeObject } from '../../../src/api/types/objects.ts';
import { type Cluster, dataplane, eventually, podNetns, processPod, run, startCluster } from '../../lib/cluster.ts';
import { kubectl, tryKubectl, whyNoKubectl } from '../../lib/kubectl.ts';
import { testUnless } from '../../lib/test-unless.ts';

const why = whyNoKubectl();
const kubectlTest = testUnless(why);

let cluster: Cluster;
test.before(async () => {
  const server = processPod('server', 'n1', ['python3', '-m', 'http.server', '80']) as {
    spec: { containers: object[] };
  };
  server.spec.containers[0] = {
    ...server.spec.containers[0],
    readinessProbe: { httpGet: { port: 80 }, periodSeconds: 1 },
  };
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'server' },
    spec: { selector: { app: 'server' }, clusterIP: '10.96.7.7', ports: [{ port: 80 }] },
  };
  cluster = await startCluster({ manifests: [server, processPod('client', 'n2', ['sleep', 'infinity']), service] });
});
test.after(() => cluster?.down());

const page = () => cluster.fetch(podNetns('client'), 'http://10.96.7.7/etc/hostname');
const controllerPid = async () => (await cluster.status()).controller.pid;

kubectlTest('get nodes -o wide shows the version, the system and the kernel; events name the container', async () => {
  const [, row] = (await kubectl(['get', 'nodes', 'n1', '-o', 'wide'])).split('\n');
  assert.match(row!, /^n1 +Ready +<none> +\S+ +v1\.34\.0\+dataplane +172\.18\.0\.11 +<none> +\S.* +dataplane:\/\//);
  assert.match(row!, ` ${release()} `);
  const started = ['get', 'events', '-o', 'wide', '--field-selector', 'involvedObject.name=server,reason=Started'];
  assert.match(
    await kubectl(started),
    /Started +pod\/server +spec\.containers\{main\} +kubelet, n1 +Started container main/,
  );
  const shown = await kubectl(['get', 'pod', 'server', '-o', 'json', '--show-managed-fields']);
  const { metadata } = JSON.parse(shown) as KubeObject;
  const owners = metadata.managedFields?.map(({ manager, subresource }) => `${manager} ${subresource}`);
  assert.equal(owners, ['dataplane undefined', 'kubelet status'], 'a node owns the status of its pods');
});

const whyNoIngress = existsSync('/usr/sbin/nginx') ? why : 'Ingress: there is no /usr/sbin/nginx';

testUnless(whyNoIngress)(
  'an Ingress is served by host and path, over TLS, and changes without a failed request',
  async () => {
    const backend = { service: { name: 'server', port: { number: 80 } } };
    const path = (text: string) => ({ path: text, pathType: 'Prefix', backend });
    const rewriting = { path: '/app(/|$)(.*)', pathType: 'ImplementationSpecific', backend };
    const ingress = (name: string, spec: object, annotations = {}) => ({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'Ingress',
      metadata: { name, annotations },
      spec,
    });
    const target = { 'nginx.ingress.kubernetes.io/rewrite-target': '/$2' };
    await cluster.apply(
      ingress('plain', { rules: [{ host: 'plain.test', http: { paths: [path('/etc')] } }] }),
      ingress('inner', { rules: [{ host: 'inner.test', http: { paths: [rewriting] } }] }, target),
      ingress('safe', {
        tls: [{ hosts: ['safe.test'] }],
        rules: [{ host: 'safe.test', http: { paths: [path('/')] } }],
      }),
    );
    const address = await eventually(async () => {
      return (
        (await kubectl(['get', 'ingress', 'plain', '-o', 'jsonpath={.status.loadBalancer.ingress[0].ip}'])) || undefined
      );
    }, 20_000);
    const ports = await kubectl([
      'get',
      'service',
      '-n',
      'ingress-nginx',
      'ingress-nginx-controller',
      '-o',
      'jsonpath={.spec.ports[*].nodePort}',
    ]);
    const [http, https] = ports.split(' ');
    const curl = async (...words: string[]) =>
      (await run(['ip', 'netns', 'exec', 'dp-outside', 'curl', '-sS', ...words])).stdout;
    const fetch = (host: string, where: string) => curl('-H', `Host: ${host}`, `http://${address}:${http}${where}`);
    const code = (host: string, where: string) =>
      curl('-o', '/dev/null', '-w', '%{http_code}', '-H', `Host: ${host}`, `http://${address}:${http}${where}`);
    await eventually(async () => (await fetch('plain.test', '/etc/hostname')) === 'server\n' || undefined);
    assert.is(await code('plain.test', '/etcetera'), '404', 'a prefix ends where an element of the path ends');
    assert.is(await code('other.test', '/etc/hostname'), '404');
    assert.is(await fetch('inner.test', '/app/etc/hostname'), 'server\n', 'rewritten');
    assert.is(await code('safe.test', '/etc/hostname'), '308');
    const secure = ['-k', '--resolve', `safe.test:${https}:${address}`, `https://safe.test:${https}/etc/hostname`];
    assert.is(await curl(...secure), 'server\n');

    const fetches = [
      'sh',
      '-c',
      `for i in $(seq 300); do curl -s -o /dev/null -w '%{http_code} ' -H 'Host: plain.test' http://${address}:${http}/etc/hostname; done`,
    ];
    const codes = run(['ip', 'netns', 'exec', 'dp-outside', ...fetches]);
    for (let i = 0; i < 4; i++) {
      await kubectl([
        'annotate',
        'ingress',
        'safe',
        '--overwrite',
        `nginx.ingress.kubernetes.io/proxy-body-size=${i + 1}m`,
      ]);
      await new Promise((resolve) => setTimeout(resolve, 700));
    }
    assert.equal([...new Set((await codes).stdout.trim().split(' '))], ['200'], 'over several reloads');
    const reloads = await kubectl(['logs', '-n', 'ingress-nginx', 'deployment/ingress-nginx-controller']);
    assert.ok(reloads.split('reconfiguring').length > 2, 'nginx has reloaded');

    assert.match(
      await kubectl(['get', 'ingress', 'plain', '--no-headers']),
      new RegExp(`plain +nginx +plain.test +${address} +80 `),
    );
    assert.match(await kubectl(['describe', 'ingress', 'plain']), /plain\.test +\n? +\/etc +server:80 \(10\.244/);
    await kubectl(['delete', 'ingress', 'plain', 'inner', 'safe']);
    await eventually(async () => {
      return (await kubectl(['get', 'pods', '-n', 'ingress-nginx', '-o', 'name'])) === '' || undefined;
    }, 40_000);
  },
);

test('a controller that is killed is started again; meanwhile connections are made and commands say so', async () => {
  const pid = await controllerPid();
  const { nodes } = await cluster.status();
  const killedAt = Date.now();
  process.kill(pid, 'SIGKILL');
  const ran = await dataplane(['get', 'pods']);
  if (ran.status !== 0) assert.match(ran.stderr, 'nodes keep forwarding');
  assert.is(await page(), 'server\n');
  await eventually(async () => {
    const status = await cluster.status();
    return (status.controller.running && status.controller.pid !== pid) || undefined;
  });
  console.log(`the controller was back after ${Date.now() - killedAt} ms`);
  assert.equal(
    (await cluster.status()).nodes.map(({ agentPid }) => agentPid),
    nodes.map(({ agentPid }) => agentPid),
    'the same agents',
  );
});

test('a second controller is refused and changes nothing', async () => {
  const before = await controllerPid();
  const second = await dataplane(['controller']);
  assert.is(second.status, 1);
  assert.match(second.stderr, 'already running');
  assert.is(await controllerPid(), before);
});

test('a controller that is asked to end leaves the agents forwarding; `dataplane controller` goes on from there', async () => {
  const before = await cluster.status();
  process.kill(before.controller.pid, 'SIGTERM');
  await eventually(async () => ((await cluster.status()).controller.running ? undefined : true));
  assert.is(await page(), 'server\n');
  const after = await cluster.status();
  assert.equal(
    after.nodes.map(({ agentPid }) => agentPid),
    before.nodes.map(({ agentPid }) => agentPid),
  );
  cluster.startHere(['controller']);
  await eventually(async () => ((await cluster.status()).controller.running ? true : undefined));
  await eventually(() => cluster.cli('get', 'pods'));
});

kubectlTest('a Node that is deleted comes back while its agent lives, and its pods are endpoints again', async () => {
  const cidr = await kubectl(['get', 'node', 'n1', '-o', 'jsonpath={.spec.podCIDR}']);
  await kubectl(['delete', 'node', 'n1']);
  await eventually(async () => {
    const ready = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}';
    return (await kubectl(['get', 'node', 'n1', '-o', ready])) === 'True' || undefined;
  });
  assert.is(await kubectl(['get', 'node', 'n1', '-o', 'jsonpath={.spec.podCIDR}']), cidr);
  assert.is(await eventually(page), 'server\n');
});

kubectlTest(
  'cordon keeps new pods away, drain moves the others as far as budgets allow, uncordon ends it',
  async () => {
    const deployment = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web' },
      spec: {
        replicas: 2,
        selector: { matchLabels: { app: 'web' } },
        template: {
          metadata: { labels: { app: 'web' } },
          spec: {
            terminationGracePeriodSeconds: 0,
            containers: [{ name: 'main', image: 'process', command: ['sleep', 'infinity'] }],
          },
        },
      },
    };
    const budget = {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata: { name: 'web' },
      spec: { selector: { matchLabels: { app: 'web' } }, minAvailable: 1 },
    };
    await cluster.apply(deployment, budget);
    await kubectl(['rollout', 'status', 'deployment/web', '--timeout=20s']);
    await kubectl(['cordon', 'n2']);
    assert.match(await kubectl(['get', 'node', 'n2']), 'SchedulingDisabled');
    const drained = await tryKubectl([
      'drain',
      'n2',
      '--force',
      '--ignore-daemonsets',
      '--grace-period=0',
      '--timeout=30s',
    ]);
    assert.is(drained.status, 0, drained.stderr);
    await kubectl(['rollout', 'status', 'deployment/web', '--timeout=20s']);
    const nodes = await kubectl(['get', 'pods', '-l', 'app=web', '-o', 'jsonpath={.items[*].spec.nodeName}']);
    assert.equal([...new Set(nodes.split(' '))], ['n1']);
    await kubectl(['uncordon', 'n2']);
    assert.not.match(await kubectl(['get', 'node', 'n2']), 'SchedulingDisabled');
  },
);

test.run();
