import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { EndpointSlice, Endpoints, KubeObject, Manifest } from '../../../../src/api/types/objects.ts';
import {
  addNode,
  endpointsOf,
  eventually,
  expectEndpoints,
  heartbeat,
  pod,
  refusal,
  runPod,
  service,
  setReady,
  sleep,
  slicesOf,
  withCluster,
} from '../test-cluster.ts';

const web = { app: 'web' };
const toWeb = { selector: web, ports: [{ port: 80, targetPort: 'http' }] };

test(
  'endpoints follow pods as they are created, become ready, terminate and are removed',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1', { 'topology.kubernetes.io/zone': 'z1' });
    await client.create(service('web', toWeb, { team: 'a' }));
    await expectEndpoints(client, 'web', []);
    const a = await runPod(client, pod('a', web), false);
    await expectEndpoints(client, 'web', ['10.244.1.2:8080 unready']);
    await setReady(client, a, true);
    await expectEndpoints(client, 'web', ['10.244.1.2:8080 ready/serving']);
    await runPod(client, pod('b', web));
    await runPod(client, pod('c', { app: 'other' }));
    await expectEndpoints(client, 'web', ['10.244.1.2:8080 ready/serving', '10.244.1.3:8080 ready/serving']);
    const [slice] = await slicesOf(client, 'web');
    assert.is(slice!.metadata.labels!['endpointslice.kubernetes.io/managed-by'], 'endpointslice-controller.k8s.io');
    assert.is(slice!.metadata.labels!.team, 'a');
    assert.is(slice!.endpoints[0]!.nodeName, 'n1');
    assert.is(slice!.endpoints[0]!.zone, 'z1');
    assert.is(slice!.endpoints[0]!.targetRef!.name, 'a');
    const endpoints = await client.get('Endpoints', 'web', 'default');
    assert.equal(
      endpoints.subsets!.map((s) => s.addresses!.map((x) => x.ip)),
      [['10.244.1.2', '10.244.1.3']],
    );
    assert.equal(endpoints.subsets![0]!.ports, [{ port: 8080, protocol: 'TCP' }]);
    await client.delete('Pod', 'a', { gracePeriodSeconds: 30 });
    await expectEndpoints(client, 'web', ['10.244.1.2:8080 serving/terminating', '10.244.1.3:8080 ready/serving']);
    assert.is((await client.get('Endpoints', 'web', 'default')).subsets![0]!.addresses!.length, 1);
    await client.delete('Pod', 'a', { gracePeriodSeconds: 0 });
    await expectEndpoints(client, 'web', ['10.244.1.3:8080 ready/serving']);
    await client.patchStatus('Pod', 'b', 'default', { phase: 'Failed' });
    await expectEndpoints(client, 'web', []);
    await client.delete('Service', 'web');
    await eventually(async () => (await slicesOf(client, 'web')).length === 0);
    await eventually(async () => (await client.find('Endpoints', 'web', 'default')) === undefined);
  }),
);

test(
  'endpoints follow changes of labels and selectors',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(service('web', toWeb));
    await runPod(client, pod('a', { app: 'x' }));
    await client.patch('Pod', 'a', { metadata: { labels: { app: 'web' } } });
    await expectEndpoints(client, 'web', ['10.244.1.2:8080 ready/serving']);
    await client.patch('Service', 'web', { spec: { selector: { app: 'y' } } });
    await expectEndpoints(client, 'web', []);
    await client.patch('Pod', 'a', { metadata: { labels: { app: 'y' } } });
    await expectEndpoints(client, 'web', ['10.244.1.2:8080 ready/serving']);
    await client.patch('Service', 'web', { spec: { ports: [{ port: 80, targetPort: 9000 }] } });
    await expectEndpoints(client, 'web', ['10.244.1.2:9000 ready/serving']);
  }),
);

test(
  'a named target port is resolved for each pod: different numbers are in different slices and subsets',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(service('web', toWeb));
    const other = [{ name: 'c', image: 'process', ports: [{ name: 'http', containerPort: 9090 }] }];
    const none = [{ name: 'c', image: 'process' }];
    await runPod(client, pod('a', web));
    await runPod(client, pod('b', web, { containers: other }));
    await runPod(client, pod('c', web, { containers: none }));
    await expectEndpoints(client, 'web', [
      '10.244.1.2:8080 ready/serving',
      '10.244.1.3:9090 ready/serving',
      '10.244.1.4: ready/serving',
    ]);
    assert.is((await slicesOf(client, 'web')).length, 3);
    assert.is((await client.get('Endpoints', 'web', 'default')).subsets!.length, 3);
  }),
);

test(
  'publishNotReadyAddresses: unready and terminating pods are published as ready',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(service('web', { ...toWeb, publishNotReadyAddresses: true }));
    await runPod(client, pod('a', web), false);
    await expectEndpoints(client, 'web', ['10.244.1.2:8080 ready']);
    await client.delete('Pod', 'a', { gracePeriodSeconds: 30 });
    await expectEndpoints(client, 'web', ['10.244.1.2:8080 ready/terminating']);
    assert.is((await client.get('Endpoints', 'web', 'default')).subsets![0]!.addresses!.length, 1);
  }),
);

test(
  'headless services have labelled slices, with hostnames of pods whose subdomain is the service',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(service('db', { clusterIP: 'None', selector: web }));
    await runPod(client, pod('a', web, { hostname: 'db-0', subdomain: 'db' }));
    await expectEndpoints(client, 'db', ['10.244.1.2:80 ready/serving']);
    const [slice] = await slicesOf(client, 'db');
    assert.is(slice!.metadata.labels!['service.kubernetes.io/headless'], '');
    assert.is(slice!.endpoints[0]!.hostname, 'db-0');
    const changed = slice!.metadata.annotations?.['endpoints.kubernetes.io/last-change-trigger-time'];
    assert.ok(Math.abs(Date.now() - Date.parse(changed ?? '')) < 60_000, 'agents measure their latency from it');
  }),
);

test(
  'a change updates only one of many slices, and no slice has more than 100 endpoints',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(service('web', toWeb));
    for (let i = 0; i < 130; i++) {
      if (i % 10 === 0) await heartbeat(client, 'n1'); // A silent node gets no pods, and a busy machine is slow.
      await runPod(client, pod(`p${i}`, web));
    }
    const full = await eventually(async () => {
      const slices = await slicesOf(client, 'web');
      return slices.reduce((n, s) => n + s.endpoints.length, 0) === 130 && slices;
    });
    assert.equal(full.map((s) => s.endpoints.length).sort(), [100, 30]);
    await client.delete('Pod', 'p0', { gracePeriodSeconds: 0 });
    const after = await eventually(async () => {
      const slices = await slicesOf(client, 'web');
      return slices.reduce((n, s) => n + s.endpoints.length, 0) === 129 && slices;
    });
    const versions = new Set(full.map((s) => s.metadata.resourceVersion));
    assert.is(after.filter((s) => !versions.has(s.metadata.resourceVersion)).length, 1);
  }),
);

test(
  'without a selector, Endpoints are mirrored to slices unless a label prevents it',
  withCluster(async ({ client }) => {
    const endpoints = (name: string, ip: string, labels = {}): Manifest<Endpoints> => ({
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata: { name, labels },
      subsets: [{ addresses: [{ ip }], notReadyAddresses: [{ ip: '192.0.2.9' }], ports: [{ port: 9376 }] }],
    });
    await client.create(endpoints('db', '192.0.2.1')); // created before its service: not mirrored yet
    await sleep(20);
    await client.create(service('db'));
    await expectEndpoints(client, 'db', ['192.0.2.1:9376 ready', '192.0.2.9:9376 unready']);
    await client.patch('Endpoints', 'db', { subsets: [{ addresses: [{ ip: '192.0.2.2' }], ports: [{ port: 1 }] }] });
    await expectEndpoints(client, 'db', ['192.0.2.2:1 ready']);
    await client.create(service('quiet'));
    await client.create(endpoints('quiet', '192.0.2.1', { 'endpointslice.kubernetes.io/skip-mirror': 'true' }));
    await sleep(30);
    assert.equal(await endpointsOf(client, 'quiet'), []);
    const bad = await refusal(client.create(endpoints('evil', '169.254.169.254')));
    assert.match(bad.message, 'link-local');
    await client.delete('Endpoints', 'db');
    await expectEndpoints(client, 'db', []);
  }),
);

test(
  'slices of users are not changed; managed slices are restored',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    const own: Manifest<EndpointSlice> = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'own', labels: { 'kubernetes.io/service-name': 'web' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['192.0.2.7'], conditions: { ready: true } }],
      ports: [{ port: 80 }],
    };
    await client.create(own);
    await client.create(service('web', toWeb));
    await runPod(client, pod('a', web));
    await expectEndpoints(client, 'web', ['10.244.1.2:8080 ready/serving', '192.0.2.7:80 ready']);
    const managed = (await slicesOf(client, 'web')).find((s) => s.metadata.name !== 'own')!;
    await client.patch('EndpointSlice', managed.metadata.name, { endpoints: [] });
    await expectEndpoints(client, 'web', ['10.244.1.2:8080 ready/serving', '192.0.2.7:80 ready']);
    await client.delete('EndpointSlice', managed.metadata.name);
    await expectEndpoints(client, 'web', ['10.244.1.2:8080 ready/serving', '192.0.2.7:80 ready']);
  }),
);

test(
  "trafficDistribution becomes hints, which follow the label of a node's zone",
  withCluster(async ({ client }) => {
    await addNode(client, 'n1', { 'topology.kubernetes.io/zone': 'z1' });
    await client.create(service('web', { ...toWeb, trafficDistribution: 'PreferSameNode' }));
    await runPod(client, pod('a', web));
    const hints = async () => (await slicesOf(client, 'web'))[0]?.endpoints[0]?.hints;
    await eventually(async () => (await hints())?.forNodes?.[0]?.name === 'n1');
    await client.patch('Node', 'n1', { metadata: { labels: { 'topology.kubernetes.io/zone': 'z2' } } });
    await eventually(async () => (await hints())?.forZones?.[0]?.name === 'z2');
  }),
);

test(
  'a node without heartbeats is not Ready and its pods are no endpoints, until the heartbeats resume',
  withCluster(
    async ({ client }) => {
      await addNode(client, 'n1');
      await client.create(service('web', toWeb));
      await runPod(client, pod('a', web));
      await expectEndpoints(client, 'web', ['10.244.1.2:8080 ready/serving']);
      for (let i = 0; i < 6; i++) {
        await sleep(60);
        await heartbeat(client, 'n1', `2025-01-01T00:00:0${i}Z`);
      }
      const ready = async () =>
        (await client.get('Node', 'n1')).status?.conditions?.find((c) => c.type === 'Ready')?.status;
      assert.is(await ready(), 'True');
      await eventually(async () => (await ready()) === 'Unknown');
      await expectEndpoints(client, 'web', ['10.244.1.2:8080 unready']);
      await heartbeat(client, 'n1', '2025-01-01T00:01:00Z');
      await expectEndpoints(client, 'web', ['10.244.1.2:8080 ready/serving']);
      await client.delete('Node', 'n1');
      await expectEndpoints(client, 'web', ['10.244.1.2:8080 unready']);
      await client.delete('Pod', 'a'); // no agent can confirm it, so it is removed at once
      assert.is(await client.find('Pod', 'a', 'default'), undefined);
    },
    { nodeSilenceMs: 200 },
  ),
);

test(
  'after a restart, objects that are already correct are not written',
  withCluster(async (cluster) => {
    const { client } = cluster;
    await addNode(client, 'n1');
    await client.create(service('web', toWeb));
    await runPod(client, pod('a', web));
    await expectEndpoints(client, 'web', ['10.244.1.2:8080 ready/serving']);
    await sleep(50);
    const before = (await client.list('Pod')).metadata.resourceVersion;
    await cluster.restart();
    await sleep(100);
    assert.is((await client.list('Pod')).metadata.resourceVersion, before);
  }),
);

test(
  'the cost of a change does not depend on the number of services',
  withCluster(async ({ client }) => {
    for (let i = 0; i < 300; i++) await client.create(service(`s${i}`, { selector: { app: `a${i}` } }));
    await addNode(client, 'n1');
    const made = await runPod(client, pod('p', { app: 'a7' }));
    await expectEndpoints(client, 's7', ['10.244.1.2:80 ready/serving']);
    await sleep(50);
    const version = async () => Number((await client.list('Node')).metadata.resourceVersion);
    const before = await version();
    await setReady(client, made, false);
    await expectEndpoints(client, 's7', ['10.244.1.2:80 unready']);
    await sleep(50);
    assert.is((await version()) - before, 3, 'the pod, one slice, one Endpoints');
  }),
);

test(
  'deleting a namespace leaves nothing of its services',
  withCluster(async ({ client }) => {
    await client.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } } as Manifest<KubeObject>);
    const s = service('web', toWeb);
    await client.create({ ...s, metadata: { ...s.metadata, namespace: 'shop' } });
    await eventually(async () => (await slicesOf(client, 'web', 'shop')).length === 1);
    await client.delete('Namespace', 'shop');
    await eventually(async () => (await client.find('Namespace', 'shop')) === undefined);
    assert.equal((await client.list('EndpointSlice')).items, []);
    assert.equal((await client.list('Endpoints')).items, []);
  }),
);

test.run();
