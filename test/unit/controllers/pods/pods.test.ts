import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ApiClient } from '../../../../src/api/client/client.ts';
import type { KubeObject, Manifest, Pod } from '../../../../src/api/types/objects.ts';
import { startController } from '../../../../src/controllers/controller.ts';
import { addNode, eventually, heartbeat, pod, refusal, runPod, sleep, withCluster } from '../test-cluster.ts';

const ipOf = (p: Pod) => p.metadata.annotations?.['dataplane.dev/pod-ip'];
const scheduled = (p: Pod) => p.status?.conditions?.find((c) => c.type === 'PodScheduled');
const node = (name: string, podCIDR?: string) =>
  ({ apiVersion: 'v1', kind: 'Node', metadata: { name }, spec: podCIDR ? { podCIDR } : {} }) as Manifest<KubeObject>;

test(
  'nodes get consecutive /24 networks in the order of their creation; a released one is reused',
  withCluster(async ({ client }) => {
    for (const name of ['n1', 'n2', 'n3']) await client.create(node(name));
    const cidr = async (name: string) => (await client.get('Node', name)).spec?.podCIDR;
    assert.equal(await Promise.all(['n1', 'n2', 'n3'].map(cidr)), ['10.244.1.0/24', '10.244.2.0/24', '10.244.3.0/24']);
    await client.delete('Node', 'n2');
    await client.create(node('n4'));
    assert.is(await cidr('n4'), '10.244.2.0/24');
    await client.create(node('n5', '10.244.9.0/24'));
    assert.match(
      (await refusal(client.create(node('n6', '10.244.9.128/25')))).message,
      'overlaps with 10.244.9.0/24 of node n5',
    );
    assert.match(
      (await refusal(client.create(node('n7', '10.96.1.0/24')))).message,
      "not within the cluster's pod network",
    );
    const moved = await refusal(client.patch('Node', 'n1', { spec: { podCIDR: '10.244.50.0/24', podCIDRs: null } }));
    assert.match(moved.message, 'node updates may not change podCIDR');
  }),
);

test(
  'a pod with scheduling gates is placed when the last one is removed; none can be added',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    const gates = ['example.com/one', 'example.com/two'].map((name) => ({ name }));
    await client.create(pod('gated', {}, { schedulingGates: gates }));
    const get = () => client.get('Pod', 'gated', 'default') as Promise<Pod>;
    await eventually(async () => scheduled(await get())?.reason === 'SchedulingGated');
    await client.patch('Pod', 'gated', { spec: { schedulingGates: gates.slice(1) } });
    const more = [...gates.slice(1), { name: 'example.com/new' }];
    const refused = await refusal(client.patch('Pod', 'gated', { spec: { schedulingGates: more } }));
    assert.match(refused.message, "only deletion is allowed, but found new scheduling gate 'example.com/new'");
    assert.is((await get()).spec.nodeName, undefined);
    await client.patch('Pod', 'gated', { spec: { schedulingGates: [] } });
    await eventually(async () => (await get()).spec.nodeName === 'n1');
  }),
);

test('overlapping networks are refused at start', async () => {
  const start = (options: object) =>
    startController({ stateDir: '/nonexistent', socketPath: '/nonexistent/s', options });
  for (const options of [
    { podCidr: '10.96.0.0/16' },
    { underlayCidr: '10.244.3.0/24' },
    { serviceCidr: '172.18.0.0/16' },
    { podCidr: 'x' },
    { nodePortRange: [5, 1] },
    { externalIpCidrs: ['0.0.0.0/0'] },
    { externalIpCidrs: ['10.96.1.0/24'] },
    { externalIpCidrs: ['172.18.0.0/24'] },
    { loadBalancerPool: ['10.96.1.0/24'] },
    { loadBalancerPool: ['172.18.0.0/28'] },
    { loadBalancerPool: ['172.18.0.200-172.18.0.255'] },
  ]) {
    try {
      await start(options);
      assert.unreachable();
    } catch (error) {
      assert.is((error as { code?: string }).code, 'ERR_CLUSTER_OPTIONS', JSON.stringify(options));
    }
  }
});

test(
  'a pod goes to the Ready node with the fewest pods, and gets an address of its node',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await addNode(client, 'n2');
    await client.create(node('silent'));
    const pods: Pod[] = [];
    for (let i = 0; i < 6; i++) pods.push(await runPod(client, pod(`p${i}`)));
    assert.equal(
      pods.map((p) => p.spec.nodeName),
      ['n1', 'n2', 'n1', 'n2', 'n1', 'n2'],
    );
    assert.equal(pods.map(ipOf), ['10.244.1.2', '10.244.2.2', '10.244.1.3', '10.244.2.3', '10.244.1.4', '10.244.2.4']);
    const events = await client.list('Event', { namespace: 'default', fieldSelector: 'involvedObject.name=p0' });
    assert.equal(
      events.items.map((e) => e.message),
      ['Successfully assigned default/p0 to n1'],
    );
  }),
);

test(
  'a pod with spec.nodeName goes there, even if the node is not Ready; with an unknown node it stays Pending, with the reason',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(node('n2'));
    const named = await runPod(client, pod('named', {}, { nodeName: 'n2' }), false);
    assert.is(ipOf(named), '10.244.2.2');
    await client.create(pod('lost', {}, { nodeName: 'n9' }));
    const lost = await eventually(async () => {
      const p = await client.get('Pod', 'lost', 'default');
      return scheduled(p) && p;
    });
    assert.is(lost.status?.phase, 'Pending');
    assert.is(scheduled(lost)?.status, 'False');
    assert.is(scheduled(lost)?.message, 'node "n9" not found');
    await client.create(node('n9'));
    await eventually(async () => ipOf(await client.get('Pod', 'lost', 'default')));
  }),
);

test(
  'a pod that fits no node stays Pending with the reason, and is scheduled when there is one',
  withCluster(async ({ client }) => {
    await client.create(pod('early'));
    await eventually(
      async () =>
        scheduled(await client.get('Pod', 'early', 'default'))?.message === 'no nodes available to schedule pods',
    );
    await client.create(node('n1'));
    await eventually(async () =>
      scheduled(await client.get('Pod', 'early', 'default'))?.message?.startsWith(
        '0/1 nodes are available: 1 node(s) were not ready',
      ),
    );
    await heartbeat(client, 'n1');
    await eventually(async () => ipOf(await client.get('Pod', 'early', 'default')));
    await client.create(pod('picky', {}, { nodeSelector: { disk: 'ssd' } }));
    await eventually(async () =>
      scheduled(await client.get('Pod', 'picky', 'default'))?.message?.includes(
        "didn't match Pod's node affinity/selector",
      ),
    );
    await client.patch('Node', 'n1', { metadata: { labels: { disk: 'ssd' } } });
    await eventually(async () => ipOf(await client.get('Pod', 'picky', 'default')));
  }),
);

const cpus = (cpu: string) => ({ cpu, memory: '1Gi' });
const requesting = (name: string, requests: Record<string, string>) =>
  pod(name, {}, { containers: [{ name: 'c', image: 'i', resources: { requests } }] });
const messageOf = async (client: ApiClient, name: string) =>
  scheduled(await client.get('Pod', name, 'default'))?.message;

test(
  'requests count: a pod goes where they fit, waits if they fit nowhere, and is placed when a pod there has ended',
  withCluster(async ({ client }) => {
    for (const name of ['n1', 'n2']) {
      await addNode(client, name);
      await client.patchStatus('Node', name, undefined, { allocatable: cpus(name === 'n1' ? '2' : '1') });
    }
    const placed = async (name: string) => (await client.get('Pod', name, 'default')).spec.nodeName;
    await runPod(client, requesting('a', { cpu: '1500m' }));
    assert.is(await placed('a'), 'n1');
    await runPod(client, requesting('b', { cpu: '800m' }));
    assert.is(await placed('b'), 'n2');
    await client.create(requesting('c', { cpu: '600m', memory: '2Gi' }));
    await eventually(async () =>
      (await messageOf(client, 'c'))?.startsWith('0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient memory.'),
    );
    await client.create(requesting('d', { cpu: '600m' }));
    await eventually(async () =>
      (await messageOf(client, 'd'))?.startsWith('0/2 nodes are available: 2 Insufficient cpu.'),
    );
    await client.create(requesting('e', { 'example.com/disk': '1' }));
    await eventually(async () =>
      (await messageOf(client, 'e'))?.startsWith('0/2 nodes are available: 2 Insufficient example.com/disk.'),
    );
    await runPod(client, pod('without'));
    await client.patchStatus('Pod', 'b', 'default', { phase: 'Succeeded' });
    await eventually(async () => (await placed('d')) === 'n2');
  }),
);

test(
  'no two pods have the same address; it is not reused at once, and survives restarts',
  withCluster(async (cluster) => {
    const { client } = cluster;
    await addNode(client, 'n1');
    const first = await runPod(client, pod('a'));
    await runPod(client, pod('b'));
    await client.delete('Pod', 'a', { gracePeriodSeconds: 0 });
    assert.is(ipOf(await runPod(client, pod('c'))), '10.244.1.4', `not ${ipOf(first)} at once`);
    await cluster.restart();
    assert.is(ipOf(await runPod(client, pod('d'))), '10.244.1.2');
    const all = (await client.list('Pod')).items.map(ipOf);
    assert.is(new Set(all).size, all.length);
  }),
);

test(
  'on a full node a pod waits until an address is free',
  withCluster(async ({ client }) => {
    await client.create(node('n1', '10.244.7.0/29'));
    await heartbeat(client, 'n1');
    for (let i = 0; i < 5; i++) await runPod(client, pod(`p${i}`));
    await client.create(pod('more'));
    await eventually(async () =>
      scheduled(await client.get('Pod', 'more', 'default'))?.message?.includes('had no free pod address'),
    );
    await client.delete('Pod', 'p2', { gracePeriodSeconds: 0 });
    assert.is(
      ipOf(
        await eventually(async () => {
          const p = await client.get('Pod', 'more', 'default');
          return ipOf(p) !== undefined && p;
        }),
      ),
      '10.244.7.4',
    );
  }),
);

test(
  'only IPAM allocates pod addresses: neither a manifest nor a status can set one',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    const wish = pod('a');
    wish.metadata.annotations = { 'dataplane.dev/pod-ip': '10.244.1.77', note: 'x' };
    const made = await runPod(client, wish);
    assert.is(ipOf(made), '10.244.1.2');
    assert.is(made.metadata.annotations!.note, 'x');
    assert.match(
      (await refusal(client.patchStatus('Pod', 'a', 'default', { podIP: '10.244.1.99' }))).message,
      'is 10.244.1.2',
    );
    const patched = await client.patch('Pod', 'a', {
      metadata: { annotations: { 'dataplane.dev/pod-ip': '10.0.0.1' } },
    });
    assert.is(ipOf(patched), '10.244.1.2');
  }),
);

test(
  'a deleted pod terminates within its grace period, and is removed when its agent confirms',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    const made = await runPod(client, pod('a'));
    const ending = await client.delete('Pod', 'a');
    assert.is(ending.metadata.deletionGracePeriodSeconds, 30);
    assert.ok(Date.parse(ending.metadata.deletionTimestamp!) > Date.now() + 25_000);
    const again = await client.delete('Pod', 'a', { gracePeriodSeconds: 60 });
    assert.is(again.metadata.deletionGracePeriodSeconds, 30, 'never longer');
    assert.is((await client.delete('Pod', 'a', { gracePeriodSeconds: 5 })).metadata.deletionGracePeriodSeconds, 5);
    const wrong = await refusal(client.delete('Pod', 'a', { gracePeriodSeconds: 0, preconditions: { uid: 'x' } }));
    assert.is(wrong.reason, 'Conflict');
    await client.delete('Pod', 'a', { gracePeriodSeconds: 0, preconditions: { uid: made.metadata.uid } });
    assert.is(await client.find('Pod', 'a', 'default'), undefined);
    await client.create(pod('nowhere', {}, { nodeSelector: { x: 'y' } }));
    await client.delete('Pod', 'nowhere');
    assert.is(await client.find('Pod', 'nowhere', 'default'), undefined, 'a pod without a node is removed at once');
  }),
);

test(
  'the spec of a running pod cannot change, except for images',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await runPod(client, pod('a'));
    const image = { spec: { containers: [{ name: 'c', image: 'nginx' }] } };
    const patched = await client.patch('Pod', 'a', image, { type: 'strategic' });
    assert.is(patched.spec.containers[0]!.image, 'nginx');
    assert.is(patched.metadata.generation, 3, 'bound, then changed');
    const other = await refusal(client.patch('Pod', 'a', { spec: { nodeName: 'n2' } }));
    assert.match(other.message, 'pod updates may not change fields other than');
  }),
);

test(
  'a host port belongs to one pod per node, protocol and address',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    const hostPort = (name: string, port: object) =>
      pod(
        name,
        {},
        { containers: [{ name: 'c', image: 'x', ports: [{ containerPort: 80, hostPort: 8080, ...port }] }] },
      );
    await runPod(client, hostPort('a', { hostIP: '172.18.0.11' }));
    await runPod(client, hostPort('b', { hostIP: '127.0.0.1' }));
    await runPod(client, hostPort('c', { hostIP: '172.18.0.11', protocol: 'UDP' }));
    await client.create(hostPort('d', {}));
    await eventually(async () =>
      scheduled(await client.get('Pod', 'd', 'default'))?.message?.includes("didn't have free ports"),
    );
  }),
);

test(
  'a terminating pod still has its host port; one whose containers have ended for good has not',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    const withPort = (name: string) =>
      pod(name, {}, { containers: [{ name: 'c', image: 'x', ports: [{ containerPort: 80, hostPort: 8080 }] }] });
    await runPod(client, withPort('a'));
    await client.create(withPort('b'));
    const waits = async () => scheduled(await client.get('Pod', 'b', 'default'))?.status === 'False';
    await eventually(waits);
    await client.delete('Pod', 'a', { namespace: 'default' });
    await sleep(20);
    assert.ok(await waits(), 'terminating');
    const options = { namespace: 'default', subresource: 'status', type: 'merge' } as const;
    await client.patch('Pod', 'a', { status: { phase: 'Succeeded' } }, options);
    await eventually(async () => (await client.get('Pod', 'b', 'default')).spec.nodeName === 'n1');
  }),
);

test(
  'the system namespaces exist and cannot be deleted; deleting a namespace deletes its contents',
  withCluster(async ({ client }) => {
    const names = (await client.list('Namespace')).items.map((n) => n.metadata.name);
    assert.equal(names.sort(), ['default', 'kube-node-lease', 'kube-public', 'kube-system']);
    assert.is((await refusal(client.delete('Namespace', 'default'))).code, 403);
    const inShop = (name: string) => ({ ...pod(name), metadata: { name, namespace: 'shop' } });
    assert.is((await refusal(client.create(inShop('x')))).message, 'namespaces "shop" not found');
    await addNode(client, 'n1');
    await client.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } } as Manifest<KubeObject>);
    await runPod(client, inShop('x'));
    await client.delete('Namespace', 'shop');
    assert.is((await client.get('Namespace', 'shop')).status?.phase, 'Terminating');
    assert.match((await refusal(client.create(inShop('y')))).message, 'because it is being terminated');
    await sleep(20);
    assert.ok(
      (await client.get('Pod', 'x', 'shop')).metadata.deletionTimestamp,
      'its pod terminates within its grace period',
    );
    await client.delete('Pod', 'x', { namespace: 'shop', gracePeriodSeconds: 0 });
    await eventually(async () => (await client.find('Namespace', 'shop')) === undefined);
  }),
);

test(
  'the options are published to the agents',
  withCluster(
    async ({ client }) => {
      const config = await client.get('ConfigMap', 'dataplane-config', 'kube-system');
      assert.is(JSON.parse(config.data!.options!).vni, 7);
    },
    { options: { vni: 7 } },
  ),
);

test.run();
