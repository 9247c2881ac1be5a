/**
 * Clients that keep their endpoint: session affinity and Maglev. Named after the Kubernetes end-to-end tests they
 * mirror (kubernetes test/e2e/network/service.go, loadbalancer.go).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { BALANCING_ANNOTATION } from '../../src/compile/compile-service.ts';
import { eventually, nodeNetns } from '../lib/cluster.ts';
import {
  balancerIp,
  echoPod,
  idlePod,
  nameOf,
  nodePort,
  OUTSIDE,
  podNetns,
  serviceObject,
  UDP,
  vip,
} from '../lib/services/services.ts';
import { N1, N2, serviceSuite } from '../lib/services/suite.ts';

const ALL = ['web-1', 'web-2', 'web-3', 'web-4'];
const CLIENT = podNetns('client');
const sticky = (timeoutSeconds?: number) => ({
  sessionAffinity: 'ClientIP' as const,
  ...(timeoutSeconds && { sessionAffinityConfig: { clientIP: { timeoutSeconds } } }),
});

const { test, cluster, s } = await serviceSuite('affinity', {
  args: ['--load-balancer-pool', '198.51.100.0/28'],
  manifests: [
    ...ALL.map((name, i) => echoPod(name, i % 2 === 0 ? 'n1' : 'n2', 'web', { labels: { only: name } })),
    idlePod('client', 'n1'),
  ],
});

/** Checks that only one endpoint replies. */
async function oneOnly(netns: string, place: string, count = 15): Promise<string> {
  const names = await s.names(netns, place, count);
  assert.is(names.length, 1, `${place} from ${netns}: ${names.join()}`);
  assert.ok(ALL.includes(names[0] as string), names[0]);
  return names[0] as string;
}

const upUdp = (netns: string, place: string) =>
  eventually(async () => (ALL.includes(nameOf(await s.datagram(netns, place))) ? true : undefined));
/** Waits until the service replies. */
const up = (netns: string, place: string) =>
  eventually(async () => (ALL.includes((await s.names(netns, place, 1))[0] as string) ? true : undefined));

test('should have session affinity work for service with type clusterIP', async () => {
  const service = await s.serve(serviceObject('sticky', 'web', sticky()), 4);
  await up(CLIENT, vip(service));
  const first = await oneOnly(CLIENT, vip(service));
  await sleep(300);
  assert.is(await oneOnly(CLIENT, vip(service)), first);
});

test('should have session affinity work for NodePort service', async () => {
  const service = await s.serve(serviceObject('sticky', 'web', { type: 'NodePort', ...sticky() }), 4);
  await up(OUTSIDE, `${N1}:${nodePort(service)}`);
  for (const netns of [OUTSIDE, CLIENT, nodeNetns('n1')]) {
    for (const node of [N1, N2]) await oneOnly(netns, `${node}:${nodePort(service)}`);
  }
  // All addresses of a service port are one session: the ClusterIP and the own node's NodePort.
  assert.is(await oneOnly(CLIENT, vip(service)), await oneOnly(CLIENT, `${N1}:${nodePort(service)}`));
});

test('should proxy localhost NodePort to backends across nodes, should honor sessionAffinity for localhost NodePort', async () => {
  const service = await s.serve(serviceObject('localhost', 'web', { type: 'NodePort' }), 4);
  const place = `127.0.0.1:${nodePort(service)}`;
  for (const node of ['n1', 'n2']) await s.eventuallyNames(nodeNetns(node), place, ALL);
  await s.patch('localhost', sticky());
  for (const node of ['n1', 'n2']) {
    await eventually(async () => ((await s.names(nodeNetns(node), place)).length === 1 ? true : undefined));
    await oneOnly(nodeNetns(node), place);
  }
});

for (const type of ['ClusterIP', 'NodePort'] as const) {
  test(`should have session affinity timeout work for service with type ${type}`, async () => {
    const service = await s.serve(serviceObject('short', 'web', { type, ...sticky(1) }), 4);
    const place = type === 'ClusterIP' ? vip(service) : `${N2}:${nodePort(service)}`;
    await up(CLIENT, place);
    // Each new connection begins the time anew.
    const first = await oneOnly(CLIENT, place);
    for (let turn = 0; turn < 4; turn++) {
      await sleep(500);
      assert.is(await oneOnly(CLIENT, place, 1), first);
    }
    // After it another endpoint may answer, and does sooner or later.
    const seen = new Set<string>([first]);
    await eventually(async () => {
      await sleep(1100);
      seen.add(await oneOnly(CLIENT, place, 1));
      return seen.size > 1 ? true : undefined;
    }, 25_000);
  });

  test(`should be able to switch session affinity for service with type ${type}`, async () => {
    const service = await s.serve(serviceObject('switch', 'web', { type }), 4);
    const place = type === 'ClusterIP' ? vip(service) : `${N1}:${nodePort(service)}`;
    await up(CLIENT, place);
    assert.ok((await s.names(CLIENT, place, 30)).length > 1);
    await s.patch('switch', sticky());
    await eventually(async () => ((await s.names(CLIENT, place, 12)).length === 1 ? true : undefined));
    await oneOnly(CLIENT, place);
    await s.patch('switch', { sessionAffinity: 'None' });
    await eventually(async () => ((await s.names(CLIENT, place, 12)).length > 1 ? true : undefined));
  });
}

for (const policy of ['Local', 'Cluster'] as const) {
  test(`should have session affinity work for LoadBalancer service with ETP ${policy}, and switch`, async () => {
    const spec = { type: 'LoadBalancer' as const, externalTrafficPolicy: policy, ...sticky() };
    const service = await s.serve(serviceObject('lb', 'web', spec), 4);
    const place = `${balancerIp(service)}:80`;
    for (const netns of [CLIENT, OUTSIDE]) {
      await up(netns, place);
      await oneOnly(netns, place);
    }
    await up(OUTSIDE, `${N1}:${nodePort(service)}`);
    const first = await oneOnly(OUTSIDE, `${N1}:${nodePort(service)}`);
    if (policy === 'Local') assert.ok(['web-1', 'web-3'].includes(first));
    await s.patch('lb', { sessionAffinity: 'None' });
    for (const netns of [CLIENT, OUTSIDE]) {
      await eventually(async () => ((await s.names(netns, place, 12)).length > 1 ? true : undefined));
    }
    await s.patch('lb', sticky());
    for (const netns of [CLIENT, OUTSIDE]) {
      await eventually(async () => ((await s.names(netns, place, 12)).length === 1 ? true : undefined));
    }
  });
}

test('should function for client IP based session affinity: udp', async () => {
  const service = await s.serve(serviceObject('sticky-udp', 'web', { ports: UDP, ...sticky() }), 4);
  await upUdp(CLIENT, `${vip(service)}:80`);
  const seen = new Set<string>();
  for (let turn = 0; turn < 15; turn++) seen.add(nameOf(await s.datagram(CLIENT, `${vip(service)}:80`)));
  assert.is(seen.size, 1, [...seen].join());
});

test('a client whose endpoint is removed gets another, and keeps it', async () => {
  const service = await s.serve(serviceObject('moves', 'web', sticky()), 4);
  await up(CLIENT, vip(service));
  const first = await oneOnly(CLIENT, vip(service));
  await s.api.patch('Pod', first, { metadata: { labels: { app: 'away' } } }, { namespace: 'default' });
  await eventually(async () => ((await s.names(CLIENT, vip(service), 1))[0] !== first ? true : undefined));
  const second = await oneOnly(CLIENT, vip(service));
  await s.api.patch('Pod', first, { metadata: { labels: { app: 'web' } } }, { namespace: 'default' });
  await s.readyEndpoints('moves', 4);
  await sleep(200);
  assert.is(await oneOnly(CLIENT, vip(service)), second);
});

test('describe service: the state of each node, and which client has which endpoint', async () => {
  const annotations = { [BALANCING_ANNOTATION]: 'maglev' };
  const service = await s.serve(serviceObject('told', 'web', sticky(600), { annotations }), 4);
  await up(CLIENT, vip(service));
  const chosen = await oneOnly(CLIENT, vip(service), 7);
  const text = await cluster.cli('describe', 'service', 'told');
  const [head = '', rest = ''] = text.split('Nodes:\n');
  const [n1 = '', n2 = ''] = rest.split('  n2:\n');
  assert.match(head, /^Session Affinity: +ClientIP$/m);
  assert.match(head, /^Endpoints: +10\.244\.\d\.\d+:80,\S+:80,\S+:80 \+ 1 more\.\.\.$/m);
  for (const node of [n1, n2]) assert.match(node, /^ +Algorithm: +Maglev$/m);
  assert.match(n1, /^ +Affinity: +ClientIP, 600s, clients: 1$/m);
  assert.match(n2, /^ +Affinity: +ClientIP, 600s, clients: 0$/m);
  const address = await s.podIp(chosen);
  const row = new RegExp(`${address.replaceAll('.', '\\.')}:80 +(\\S+) +(\\d+) +(\\d+) +(\\d+)`);
  const [, sets, connections, packets, clients] = row.exec(n1) ?? [];
  assert.is(sets, ['web-1', 'web-3'].includes(chosen) ? 'cluster,local' : 'cluster');
  assert.ok(Number(connections) >= 8, n1);
  // A request with its handshakes is at least six packets.
  assert.ok(Number(packets) >= 6 * Number(connections), n1);
  assert.is(clients, '1');
  assert.match(row.exec(n2)?.[0] ?? '', / 0 +0 +0$/);
});

test('session affinity survives a restart of the agent', async () => {
  const service = await s.serve(serviceObject('outlives', 'web', sticky(3600)), 4);
  await up(CLIENT, vip(service));
  // Several services, so that luck would be needed to find all the same again.
  const others = await Promise.all(
    [1, 2, 3, 4].map((i) => s.serve(serviceObject(`other-${i}`, 'web', sticky(3600)), 4)),
  );
  const places = [service, ...others].map(vip);
  for (const place of places) await up(CLIENT, place);
  const before = await Promise.all(places.map((place) => oneOnly(CLIENT, place, 3)));
  const pid = (await cluster.status()).nodes[0]?.agentPid as number;
  process.kill(pid, 'SIGKILL');
  await eventually(async () => {
    const now = (await cluster.status()).nodes[0]?.agentPid;
    return now !== undefined && now !== pid ? true : undefined;
  });
  await s.eventuallyNames(CLIENT, places[0] as string, [before[0] as string]);
  assert.equal(await Promise.all(places.map((place) => oneOnly(CLIENT, place, 3))), before);
});

test('Maglev: a client gets the same endpoint on each node, and few move when an endpoint is removed', async () => {
  const annotations = { [BALANCING_ANNOTATION]: 'maglev' };
  const service = await s.serve(serviceObject('maglev', 'web', { type: 'NodePort', ports: UDP }, { annotations }), 4);
  for (const node of [N1, N2]) await upUdp(OUTSIDE, `${node}:${nodePort(service)}`);
  const ports = Array.from({ length: 24 }, (_, i) => 20_000 + i);
  const choices = (node: string) =>
    Promise.all(
      ports.map(async (port) => {
        return nameOf(await s.datagram(OUTSIDE, `${node}:${nodePort(service)}`, port));
      }),
    );
  const before = await choices(N1);
  assert.ok(new Set(before).size > 1, before.join());
  assert.equal(await choices(N2), before);
  await s.api.patch('Pod', 'web-4', { metadata: { labels: { app: 'away' } } }, { namespace: 'default' });
  await s.readyEndpoints('maglev', 3);
  await sleep(200);
  const after = await choices(N1);
  await s.api.patch('Pod', 'web-4', { metadata: { labels: { app: 'web' } } }, { namespace: 'default' });
  assert.not.ok(after.includes('web-4'));
  const moved = ports.filter((_, i) => before[i] !== 'web-4' && before[i] !== after[i]);
  assert.ok(moved.length <= ports.length / 6, `${moved.length} of ${ports.length} moved without need`);
});

test.run();
