/**
 * UDP clients when endpoints change: conntrack records must not outlive the endpoint they lead to. Named after the
 * Kubernetes end-to-end tests they mirror (kubernetes test/e2e/network/conntrack.go) or the issue they prevent.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import type { Service } from '../../src/api/types/objects.ts';
import { eventually, nodeNetns } from '../lib/cluster.ts';
import {
  balancerIp,
  ECHO,
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
import { Talker } from '../lib/services/udp-talker.ts';

const CLIENT = podNetns('client');
const serve = ['tcp:80', 'udp:80', 'udp:81'];

const { test, cluster, s } = await serviceSuite('udp', {
  // In the underlay: node addresses are passed over, the rest is routed as any other.
  args: ['--load-balancer-pool', '172.18.0.10-172.18.0.15'],
  manifests: [echoPod('a', 'n1', 'a', { serve }), echoPod('b', 'n2', 'b', { serve }), idlePod('client', 'n2')],
});

/** A client with one socket that sends at an interval. */
const talk = (netns: string, place: string, intervalMs: number, sourcePort?: number, waitMs?: number) =>
  new Talker(cluster, netns, place, intervalMs, sourcePort, waitMs);

const pod = (name: string, node: string) => echoPod(name, node, 'cycle', { serve });

/** Replaces the server's pod, and checks that the client's socket reaches the new one. */
async function cycles(
  netns: string,
  placeOf: (service: Service) => string,
  type: 'NodePort' | 'LoadBalancer' = 'NodePort',
): Promise<Talker> {
  await s.create(pod('cycle-1', 'n1'));
  const service = await s.serve(serviceObject('cycle', 'cycle', { type, ports: UDP }), 1);
  const talker = talk(netns, placeOf(service), 20, 12_345);
  await talker.hears('cycle-1');
  await s.create(pod('cycle-2', 'n2'));
  await s.readyEndpoints('cycle', 2);
  await s.remove('Pod', 'cycle-1', 0);
  await talker.hears('cycle-2');
  const moved = talker.answers.findIndex(({ name }) => name === 'cycle-2');
  assert.not.ok(talker.answers.slice(moved).some(({ name }) => name === 'cycle-1'));
  return talker;
}

test('should be able to preserve UDP traffic when server pod cycles for a NodePort service', async () => {
  for (const netns of [CLIENT, OUTSIDE]) {
    await (await cycles(netns, (service) => `${N1}:${nodePort(service)}`)).end();
    await s.cleanUp();
  }
});

test('should be able to preserve UDP traffic when server pod cycles for a ClusterIP service', async () => {
  const talker = await cycles(CLIENT, (service) => `${vip(service)}:80`);
  await s.create(pod('cycle-3', 'n1'));
  await s.readyEndpoints('cycle', 2);
  const service = await s.api.get('Service', 'cycle', 'default');
  await eventually(async () =>
    nameOf(await s.datagram(CLIENT, `${vip(service)}:80`)) === 'cycle-3' ? true : undefined,
  );
  await talker.end();
});

test('should be able to preserve UDP traffic when server pod cycles for a ClusterIP service and client is hostNetwork', async () => {
  for (const node of ['n1', 'n2']) {
    await (await cycles(nodeNetns(node), (service) => `${vip(service)}:80`)).end();
    await s.cleanUp();
  }
});

test('should be able to preserve UDP traffic when server pod cycles for a LoadBalancer service on different nodes', async () => {
  for (const netns of [OUTSIDE, CLIENT]) {
    await (await cycles(netns, (service) => `${balancerIp(service)}:80`, 'LoadBalancer')).end();
    assert.is(balancerIp(await s.api.get('Service', 'cycle', 'default')), '172.18.0.10');
    await s.cleanUp();
  }
});

test('should be able to preserve UDP traffic when initial unready endpoints get ready', async () => {
  const service = await s.serve(serviceObject('early', 'early', { type: 'NodePort', ports: UDP }), 0);
  const talkers = [
    talk(CLIENT, `${vip(service)}:80`, 20, 12_345),
    talk(CLIENT, `${N1}:${nodePort(service)}`, 20),
    talk(OUTSIDE, `${N2}:${nodePort(service)}`, 20),
    talk(nodeNetns('n1'), `${vip(service)}:80`, 20),
  ];
  await eventually(async () => (talkers.every(({ errors }) => errors.length > 0) ? true : undefined));
  await s.create(echoPod('early', 'n1', 'early', { serve: ['tcp:80', 'udp:80', 'unready'] }));
  const { status } = await eventually(async () => {
    const object = await s.api.get('Pod', 'early', 'default');
    return object.status?.phase === 'Running' ? object : undefined;
  });
  await eventually(() => cluster.fetch(CLIENT, `http://${status?.podIP}/ready`));
  for (const talker of talkers) await talker.hears('early');
  for (const talker of talkers) await talker.end();
});

test('a client that begins before its service exists (kubernetes #105657)', async () => {
  const clusterIP = '10.96.0.77';
  const talker = talk(CLIENT, `${clusterIP}:80`, 20);
  const nodeTalker = talk(CLIENT, `${N2}:31777`, 20);
  await sleep(400);
  const ports = [{ ...UDP[0], nodePort: 31_777 }];
  await s.serve(serviceObject('late', 'a', { type: 'NodePort', clusterIP, ports }), 1);
  await talker.hears('a');
  await nodeTalker.hears('a');
  await talker.end();
  await nodeTalker.end();
});

test('should be able to cleanup conntrack entries when UDP service target port changes for a NodePort service', async () => {
  const service = await s.serve(serviceObject('target', 'a', { type: 'NodePort', ports: UDP }), 1);
  const talker = talk(OUTSIDE, `${N1}:${nodePort(service)}`, 20, 12_345);
  await talker.hears('a');
  assert.is(talker.answers.at(-1)?.port, 80);
  await s.patch('target', { ports: [{ ...service.spec.ports?.[0], targetPort: 81 }] });
  await eventually(async () => (talker.answers.at(-1)?.port === 81 ? true : undefined));
  await talker.end();
});

for (const kind of ['ClusterIP', 'NodePort'] as const) {
  test(`a client with one socket loses at most one datagram when its endpoint changes: ${kind}`, async () => {
    const service = await s.serve(serviceObject('change', 'a', { type: 'NodePort', ports: UDP }), 1);
    const place = kind === 'ClusterIP' ? `${vip(service)}:80` : `${N1}:${nodePort(service)}`;
    // One datagram in flight: on a busy machine several may wait at the server that is about to be replaced, whose replies are lost.
    const talker = talk(CLIENT, place, 5, 0, 300);
    await talker.hears('a');
    for (const app of ['b', 'a', 'b']) {
      await s.patch('change', { selector: { app } });
      await talker.hears(app);
    }
    const first = talker.answers[0]?.number ?? 0;
    const lost = (await talker.end()).filter((number) => number > first);
    assert.ok(lost.length <= 3, `${lost.length} lost over three changes: ${lost.join()}`);
  });
}

test('scaled to zero: clients are refused at once, not sent to removed endpoints (kubernetes #139628)', async () => {
  const service = await s.serve(serviceObject('zero', 'a', { type: 'NodePort', ports: UDP }), 1);
  const talkers = [
    talk(CLIENT, `${vip(service)}:80`, 20),
    talk(OUTSIDE, `${N1}:${nodePort(service)}`, 20),
    talk(nodeNetns('n1'), `${vip(service)}:80`, 20),
  ];
  for (const talker of talkers) await talker.hears('a');
  await s.patch('zero', { selector: { app: 'nobody' } });
  await s.readyEndpoints('zero', 0);
  await eventually(async () => (talkers.every(({ errors }) => errors.length > 0) ? true : undefined), 2000);
  const heard = talkers.map(({ answers }) => answers.length);
  await sleep(200);
  assert.equal(
    talkers.map(({ answers }) => answers.length),
    heard,
  );
  await s.patch('zero', { selector: { app: 'b' } });
  for (const talker of talkers) await talker.hears('b');
  for (const talker of talkers) await talker.end();
});

test("a deleted service's flows are removed; the next service with its address gets its clients (kubernetes #141371)", async () => {
  const ports = [{ ...UDP[0], nodePort: 31_778 }];
  const object = serviceObject('first', 'a', { type: 'NodePort', clusterIP: '10.96.0.78', ports });
  await s.serve(object, 1);
  const talkers = [talk(CLIENT, '10.96.0.78:80', 20), talk(OUTSIDE, `${N1}:31778`, 20)];
  for (const talker of talkers) await talker.hears('a');
  await s.remove('Service', 'first');
  await s.gone('Service', 'first');
  await s.serve(serviceObject('second', 'b', { type: 'NodePort', clusterIP: '10.96.0.78', ports }), 1);
  for (const talker of talkers) await talker.hears('b');
  await sleep(100);
  for (const talker of talkers) {
    const since = talker.answers.findIndex(({ name }) => name === 'b');
    assert.ok(talker.answers.slice(since).every(({ name }) => name === 'b'));
    await talker.end();
  }
});

test("flows to other addresses with a NodePort's number are not affected (kubernetes #49881)", async () => {
  cluster.start(OUTSIDE, [...ECHO, 'udp:31779', 'name=outsider']);
  const ports = [{ ...UDP[0], nodePort: 31_779 }];
  await s.serve(serviceObject('same-number', 'a', { type: 'NodePort', ports }), 1);
  const talker = talk(CLIENT, '172.18.0.1:31779', 20, 12_346);
  await talker.hears('outsider');
  const packets = async (): Promise<number> => {
    const flows = JSON.parse(
      await cluster.cli('conntrack', 'list', '--node', 'n2', '--orig-port-src', '12346', '-o', 'json'),
    ) as { packets: [number, number] }[];
    assert.is(flows.length, 1);
    return flows[0]?.packets[0] ?? 0;
  };
  const before = await packets();
  assert.ok(before > 0);
  await s.patch('same-number', { selector: { app: 'b' } });
  await s.readyEndpoints('same-number', 1);
  await talker.hears('outsider');
  // The record is the same: its count went on.
  assert.ok((await packets()) > before);
  await talker.end();
});

test('changes made while the agent was down apply when it is back (kubernetes #122740)', async () => {
  const service = await s.serve(serviceObject('away', 'a', { ports: UDP }), 1);
  const talker = talk(CLIENT, `${vip(service)}:80`, 20, 12_347);
  await talker.hears('a');
  const pid = (await cluster.status()).nodes.find(({ name }) => name === 'n2')?.agentPid as number;
  process.kill(pid, 'SIGKILL');
  await s.patch('away', { selector: { app: 'b' } });
  await talker.hears('b', 10_000);
  await talker.end();
});

test('two queries from one socket at once get two replies from one endpoint (kubernetes #56903)', async () => {
  const service = await s.serve(serviceObject('dns', undefined, { selector: { tier: 'dns' }, ports: UDP }));
  for (const name of ['a', 'b']) {
    await s.api.patch('Pod', name, { metadata: { labels: { tier: 'dns' } } }, { namespace: 'default' });
  }
  await s.readyEndpoints('dns', 2);
  await eventually(async () => (/^[ab] /.test(await s.datagram(CLIENT, `${vip(service)}:80`)) ? true : undefined));
  const script = `
    const dgram = require('node:dgram');
    let open = 0, bad = [];
    for (let i = 0; i < 200; i++) {
      const socket = dgram.createSocket('udp4'), heard = [];
      open++;
      const timer = setTimeout(() => done(), 1500);
      const done = () => { clearTimeout(timer); if (heard.length !== 2 || heard[0] !== heard[1]) bad.push(heard.join('/'));
        socket.close(); if (--open === 0) console.log(JSON.stringify(bad)); };
      socket.on('message', (data) => { heard.push(String(data).split(' ')[0]); if (heard.length === 2) done(); });
      socket.bind(() => { for (const q of ['A', 'AAAA']) socket.send(q, 80, '${vip(service)}'); });
    }`;
  const { stdout } = await cluster.exec(CLIENT, [process.execPath, '-e', script]);
  assert.equal(JSON.parse(stdout), []);
});

test.run();
