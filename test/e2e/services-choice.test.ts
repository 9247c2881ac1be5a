/**
 * Choice of endpoints by their state: terminating, not ready, near; and the choice after rules or agents were lost.
 * Named after the Kubernetes end-to-end tests they mirror (kubernetes test/e2e/network/service.go,
 * traffic_distribution.go, networking.go).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import type { Service } from '../../src/api/types/objects.ts';
import { eventually, nodeNetns } from '../lib/cluster.ts';
import {
  balancerIp,
  echoPod,
  nodePort,
  OUTSIDE,
  podNetns,
  REFUSED,
  serviceObject,
  sliceObject,
  vip,
} from '../lib/services/services.ts';
import { CLIENT_1, CLIENT_2, N1, N2, PODS, serviceSuite, WEB } from '../lib/services/suite.ts';

const { test, cluster, s } = await serviceSuite('choice', {
  args: ['--load-balancer-pool', '198.51.100.0/28'],
  manifests: PODS,
});

/** A pod that keeps serving while it terminates. */
const draining = (name: string, node: string) =>
  echoPod(name, node, 'drain', { serve: ['tcp:80', 'udp:80', 'linger=20000'], graceSeconds: 30 });

/** Two such pods, one per node, that are being deleted. */
async function endBoth(serviceName: string): Promise<void> {
  for (const name of ['drain-1', 'drain-2']) await s.remove('Pod', name);
  await s.readyEndpoints(serviceName, 0);
}

async function drainers(spec: object): Promise<Service> {
  await s.create(draining('drain-1', 'n1'));
  await s.create(draining('drain-2', 'n2'));
  return s.serve(serviceObject('drain', 'drain', spec), 2);
}

test('should fail health check node port if there are only terminating endpoints', async () => {
  const service = await drainers({ type: 'LoadBalancer', externalTrafficPolicy: 'Local' });
  const check = `${N1}:${service.spec.healthCheckNodePort}`;
  await eventually(async () => ((await s.health(OUTSIDE, check)).status === 200 ? true : undefined));
  await endBoth('drain');
  await eventually(async () => ((await s.health(OUTSIDE, check)).status === 503 ? true : undefined));
  assert.equal(await s.names(OUTSIDE, `${N1}:${nodePort(service)}`), ['drain-1']);
  assert.equal(await s.names(OUTSIDE, `${balancerIp(service)}:80`), ['drain-1', 'drain-2']);
});

test('should fallback to terminating endpoints when there are no ready endpoints with internalTrafficPolicy=Cluster', async () => {
  const service = await drainers({});
  await endBoth('drain');
  for (const netns of [CLIENT_1, CLIENT_2, nodeNetns('n1')])
    await s.eventuallyNames(netns, vip(service), ['drain-1', 'drain-2']);
  // A ready one is better.
  await s.create(echoPod('fresh', 'n2', 'drain'));
  await s.eventuallyNames(CLIENT_1, vip(service), ['fresh']);
});

test('should fallback to local terminating endpoints when there are no ready endpoints with internalTrafficPolicy=Local', async () => {
  const service = await drainers({ internalTrafficPolicy: 'Local' });
  await endBoth('drain');
  await s.eventuallyNames(CLIENT_1, vip(service), ['drain-1']);
  await s.eventuallyNames(CLIENT_2, vip(service), ['drain-2']);
});

test('should fallback to terminating endpoints when there are no ready endpoints with externalTrafficPolicy=Cluster', async () => {
  const service = await drainers({ type: 'NodePort' });
  await endBoth('drain');
  for (const node of [N1, N2]) {
    await s.eventuallyNames(OUTSIDE, `${node}:${nodePort(service)}`, ['drain-1', 'drain-2']);
    await s.eventuallyNames(CLIENT_1, `${node}:${nodePort(service)}`, ['drain-1', 'drain-2']);
  }
});

test('should fallback to local terminating endpoints when there are no ready endpoints with externalTrafficPolicy=Local', async () => {
  await s.create(draining('drain-1', 'n1'));
  const service = await s.serve(
    serviceObject('drain', 'drain', { type: 'NodePort', externalTrafficPolicy: 'Local' }),
    1,
  );
  await s.remove('Pod', 'drain-1');
  await s.readyEndpoints('drain', 0);
  const port = nodePort(service);
  await s.eventuallyNames(OUTSIDE, `${N1}:${port}`, ['drain-1']);
  await s.eventuallyRefused(OUTSIDE, `${N2}:${port}`);
  // A pod by its own node, though no endpoint is there; by the other node, because one is.
  await s.eventuallyNames(CLIENT_2, `${N2}:${port}`, ['drain-1']);
  await s.eventuallyNames(CLIENT_2, `${N1}:${port}`, ['drain-1']);
  await s.eventuallyRefused(CLIENT_1, `${N2}:${port}`);
});

test('should be able to connect from a Pod to a terminating Pod; to other Pod from a terminating Pod', async () => {
  const service = await drainers({});
  const other = await s.serve(serviceObject('web', 'web'), 2);
  const ip = await s.podIp('drain-1');
  await endBoth('drain');
  assert.equal(await s.names(CLIENT_2, `${ip}:80`, 2), ['drain-1']);
  assert.equal(await s.names(podNetns('drain-1'), vip(other)), WEB);
  assert.equal(await s.names(podNetns('drain-2'), vip(service)), ['drain-1', 'drain-2']);
});

test('should create endpoints for unready pods', async () => {
  await s.create(echoPod('unready', 'n1', 'unready', { serve: ['tcp:80', 'unready'] }));
  const plain = await s.serve(serviceObject('plain', 'unready'), 0);
  const tolerant = await s.serve(serviceObject('tolerant', 'unready', { publishNotReadyAddresses: true }), 1);
  await s.eventuallyNames(CLIENT_2, vip(tolerant), ['unready']);
  await s.eventuallyRefused(CLIENT_2, vip(plain));
  await s.patch('tolerant', { publishNotReadyAddresses: false });
  await s.eventuallyRefused(CLIENT_2, vip(tolerant));
});

for (const publish of [true, false]) {
  const not = publish ? '' : 'not ';
  test(`should ${not}be able to connect to terminating and unready endpoints if PublishNotReadyAddresses is ${publish}`, async () => {
    const serve = ['tcp:80', 'unready', 'linger=20000'];
    await s.create(echoPod('ends', 'n1', 'ends', { serve, graceSeconds: 30 }));
    const spec = { type: 'NodePort' as const, publishNotReadyAddresses: publish };
    const service = await s.serve(serviceObject('ends', 'ends', spec), publish ? 1 : 0);
    // A program that has not set its handler of SIGTERM yet would end at once.
    const podIP = await eventually(async () => (await s.api.get('Pod', 'ends', 'default')).status?.podIP);
    await s.eventuallyNames(CLIENT_2, `${podIP}:80`, ['ends']);
    await s.remove('Pod', 'ends');
    await sleep(300);
    for (const place of [vip(service), `${N2}:${nodePort(service)}`]) {
      if (publish) await s.eventuallyNames(CLIENT_2, place, ['ends']);
      else await s.eventuallyRefused(CLIENT_2, place);
    }
  });
}

async function setZones(zones: Record<string, string | null>): Promise<void> {
  for (const [node, zone] of Object.entries(zones)) {
    const labels = { 'topology.kubernetes.io/zone': zone };
    await s.api.patch('Node', node, { metadata: { labels } });
  }
}

for (const distribution of ['PreferClose', 'PreferSameZone', 'PreferSameNode'] as const) {
  test(`should route traffic to an endpoint nearby with ${distribution}`, async () => {
    await setZones({ n1: 'east', n2: 'west' });
    const service = await s.serve(serviceObject('near', 'web', { trafficDistribution: distribution }), 2);
    await s.eventuallyNames(CLIENT_1, vip(service), ['web-1']);
    await s.eventuallyNames(CLIENT_2, vip(service), ['web-2']);
    // Both nodes in one zone: the zone no longer tells them apart, the node does.
    await setZones({ n1: 'east', n2: 'east' });
    const both = distribution === 'PreferSameNode' ? ['web-2'] : WEB;
    await s.eventuallyNames(CLIENT_2, vip(service), both);
    // None near: the far one.
    await s.patch('near', { selector: { only: 'web-1' } });
    await s.eventuallyNames(CLIENT_2, vip(service), ['web-1']);
    await setZones({ n1: null, n2: null });
  });
}

test('topology hints of a hand-written slice are used if every ready endpoint has some', async () => {
  const [one, two] = [await s.podIp('web-1'), await s.podIp('web-2')];
  await setZones({ n1: 'east', n2: 'west' });
  const service = await s.serve(serviceObject('hinted', undefined));
  const hints = (zone: string) => ({ forZones: [{ name: zone }] });
  // Crosswise, to see that the hints decide and not the place.
  const crosswise = [
    { ip: one, node: 'n1', hints: hints('west') },
    { ip: two, node: 'n2', hints: hints('east') },
  ];
  const slice = sliceObject('hinted', crosswise, { port: 80 });
  await s.create(slice);
  await s.eventuallyNames(CLIENT_1, vip(service), ['web-2']);
  await s.eventuallyNames(CLIENT_2, vip(service), ['web-1']);
  const { endpoints } = sliceObject('hinted', [{ ip: one, node: 'n1' }, crosswise[1] as { ip: string }], { port: 80 });
  await s.api.patch('EndpointSlice', slice.metadata.name, { endpoints } as never, { namespace: 'default' });
  await s.eventuallyNames(CLIENT_1, vip(service), WEB);
  await setZones({ n1: null, n2: null });
});

test('should recreate its iptables rules if they are deleted', async () => {
  const service = await s.serve(serviceObject('repaired', 'web', { type: 'LoadBalancer' }), 2);
  const ip = balancerIp(service);
  await s.eventuallyNames(nodeNetns('n1'), `${ip}:80`, WEB);
  const inForce = async () =>
    (await Promise.all(['rule', 'route'].map((what) => cluster.exec(nodeNetns('n1'), ['ip', what]))))
      .flatMap(({ stdout }) => stdout.split('\n'))
      .sort()
      .join('\n');
  const before = await inForce();
  const args = ['ip', 'route', 'del', ip, 'dev', 'dp0'];
  assert.is((await cluster.exec(nodeNetns('n1'), args)).status, 0);
  const ours = [5, 10, 10, 10, 10, 11, 12, 13].map((preference) => `rule del pref ${preference}\n`).join('');
  await cluster.exec(nodeNetns('n1'), ['ip', '-force', '-batch', '-'], { input: ours });
  assert.is.not(await inForce(), before);
  await eventually(async () => ((await inForce()) === before ? true : undefined));
  await s.eventuallyNames(nodeNetns('n1'), `${ip}:80`, WEB);
  await s.eventuallyNames(OUTSIDE, `${N1}:${nodePort(service)}`, WEB);
  // A service that goes takes its routes along.
  await s.remove('Service', 'repaired');
  await eventually(async () => {
    const routes = await Promise.all(
      [OUTSIDE, nodeNetns('n1'), nodeNetns('n2')].map((netns) => cluster.exec(netns, ['ip', 'route', 'show', ip])),
    );
    return routes.every(({ stdout }) => stdout === '') ? true : undefined;
  });
});

test('should work after restarting kube-proxy', async () => {
  const service = await s.serve(serviceObject('outlives', 'web', { type: 'LoadBalancer' }), 2);
  const places = [`${N1}:${nodePort(service)}`, `${balancerIp(service)}:80`];
  for (const place of places) await s.eventuallyNames(OUTSIDE, place, WEB);
  const before = (await cluster.status()).nodes.find(({ name }) => name === 'n1')?.agentPid as number;
  process.kill(before, 'SIGKILL');
  // Its addresses stay routed to dp0 all the while, or the node's kernel would send them elsewhere.
  for (const end = Date.now() + 1500; Date.now() < end; ) {
    const { stdout } = await cluster.exec(nodeNetns('n1'), ['ip', 'route', 'show', balancerIp(service)]);
    assert.match(stdout, ' dev dp0 ');
  }
  await eventually(async () => {
    const pid = (await cluster.status()).nodes.find(({ name }) => name === 'n1')?.agentPid;
    return pid !== undefined && pid !== null && pid !== before ? true : undefined;
  });
  for (const place of places) await s.eventuallyNames(OUTSIDE, place, WEB, 10_000);
  const later = await s.serve(serviceObject('later', 'web'), 2);
  await s.eventuallyNames(CLIENT_1, vip(later), WEB);
  assert.equal(await s.ask(CLIENT_1, `${vip(service)}:99`), [REFUSED]);
});

test.run();
