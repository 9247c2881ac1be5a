/**
 * Situations that hurt users of other data planes, as reported in public: docs/field.md lists each with its reference. Here
 * those of the pipeline alone; those that need a cluster are in test/e2e/field-*.test.ts.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FrontendKind } from '../../native-free-dataplane/services/table.ts';
import { addressWords } from '../../native-free-dataplane/wire/address.ts';
import { flushEndpoints } from '../../src/agent/connections/flush.ts';
import { A, B, GATEWAY, NODE, natNode, onlySent, portsOf, SERVER } from '../lib/nat-node.ts';
import type { TestNode } from '../lib/test-node.ts';

const VIP = '10.96.0.10';
const REMOTE = '10.244.2.2';
const CLIENT = '172.18.0.50';
const SECOND = '172.18.0.60';

/** A packet of node 2, inside the overlay. */
const fromNode2 = (inner: string) => `vxlan 172.18.0.12:50000 > ${NODE}:4789 vni 1 (${inner})`;

test('large datagrams from an endpoint on another node: their later fragments reach the client too (cilium #13349, #32427)', () => {
  const n = natNode().service(`udp ${VIP}:80`, { endpoints: [`${REMOTE}:80`], nodePort: 30080 });
  assert.is(n.receive('host', `udp ${CLIENT}:4000 > ${NODE}:30080 len 8`), 'encapsulated');
  const [, port] = /10\.244\.1\.1:(\d+) >/.exec(n.sent('host')[0]!)!;
  n.receive('host', fromNode2(`udp ${REMOTE}:80 > ${GATEWAY}:${port} len 1000 frag id 7 offset 0 more`));
  assert.is(n.receive('host', fromNode2(`udp ${REMOTE} > ${GATEWAY} len 3 frag id 7 offset 1008`)), 'to-host');
  const sent = n.sent('host');
  assert.is(sent.length, 2);
  for (const text of sent) assert.match(text, new RegExp(`^udp ${NODE}[: ].*> ${CLIENT}`));
});

test('a protocol without ports has none inside the overlay either: its reply finds the same connection (flannel #2196)', () => {
  const n = natNode();
  for (const inner of [`esp ${REMOTE} > ${A} len 40`, `protocol-99 ${REMOTE} > ${A} len 40`]) {
    const before = n.flows;
    assert.is(n.receive('host', fromNode2(inner)), 'forwarded', inner);
    const [protocol] = inner.split(' ');
    assert.is(n.receive('a', `${protocol} ${A} > ${REMOTE} len 40`), 'encapsulated');
    assert.is(n.flows, before + 1, 'one connection');
  }
});

test('two pods use a protocol without ports to one host outside: the first keeps it, the second gets an error', () => {
  const n = natNode();
  assert.is(n.receive('a', `esp ${A} > ${SERVER} len 40`), 'to-host');
  assert.is(n.receive('b', `esp ${B} > ${SERVER} len 40`), 'rejected-prohibited');
  assert.match(n.sent('b')[0]!, /unreachable prohibited/);
  assert.is(n.receive('host', `esp ${SERVER} > ${NODE} len 40`), 'forwarded');
  assert.match(n.sent('a')[0]!, new RegExp(`esp ${SERVER} > ${A}`));
});

test('a node’s own connection from a port that becomes a NodePort goes on (kubernetes #111682, cilium #10261)', () => {
  const n = natNode().service(`tcp ${VIP}:80`, { endpoints: [`${A}:80`], nodePort: 31555 });
  // The answer to the node's own SYN, which went out past us: before the list of its ports is read again, and after.
  assert.is(n.receive('host', `tcp ${SERVER}:7000 > ${NODE}:31555 SA seq 1 ack 2`), 'to-host');
  n.conntrack.socketPorts[31555 >>> 5]! |= 1 << (31555 & 31);
  assert.is(n.receive('host', `tcp ${SERVER}:7000 > ${NODE}:31555 PA seq 2 ack 2 len 10`), 'to-host');
  assert.is(n.receive('host', `tcp ${SERVER}:7000 > ${NODE}:31555 R seq 12`), 'to-host');
  assert.is(n.sent('host').length, 3, 'given back to the kernel');
  assert.is(n.flows, 0);
  // New connections are the service's.
  assert.is(n.receive('host', `tcp ${CLIENT}:7000 > ${NODE}:31555 S seq 1`), 'forwarded');
  assert.match(n.sent('a')[0]!, new RegExp(`> ${A}:80 S`));
});

/** Service whose endpoint is a socket of the node itself. */
const hostService = () => natNode().service(`udp ${VIP}:53`, { endpoints: [`${NODE}:5353`], nodePort: 30053 });

test('an endpoint in the node’s namespace, bound to no address, answers from the gateway: the client hears the service (kubernetes #94812)', () => {
  const n = hostService();
  n.receive('a', `udp ${A}:4000 > ${VIP}:53 len 8`);
  assert.match(n.sent('host')[0]!, new RegExp(`udp ${A}:4000 > ${NODE}:5353`));
  assert.is(n.receive('host', `udp ${GATEWAY}:5353 > ${A}:4000 len 8`), 'forwarded');
  assert.match(n.sent('a')[0]!, new RegExp(`udp ${VIP}:53 > ${A}:4000`));
  // Large answers come in fragments, in any order.
  for (const order of [
    [0, 1],
    [1, 0],
  ]) {
    const fragments = [
      `udp ${GATEWAY}:5353 > ${A}:4000 len 1000 frag id ${8 + order[0]!} offset 0 more`,
      `udp ${GATEWAY} > ${A} len 50 frag id ${8 + order[0]!} offset 1008`,
    ];
    for (const i of order) n.receive('host', fragments[i]!);
    const sent = n.sent('a');
    assert.is(sent.length, 2);
    for (const text of sent) assert.match(text, new RegExp(`^udp ${VIP}[: ]`));
  }
  assert.is(n.flows, 1);
});

test('a datagram of the node’s own to a pod is not taken for a reply that nobody asked for', () => {
  const n = hostService();
  n.receive('a', `udp ${A}:4000 > ${NODE}:5353 len 8`);
  n.sent('host');
  // Asked without the service: what the node answers is forwarded as it is, as on any other router.
  assert.is(n.receive('host', `udp ${GATEWAY}:5353 > ${A}:4000 len 8`), 'forwarded');
  assert.match(n.sent('a')[0]!, new RegExp(`udp ${GATEWAY}:5353 > ${A}:4000`));
  assert.is(n.receive('host', `udp ${GATEWAY}:9 > ${B}:9 len 8`), 'forwarded');
  assert.match(n.sent('b')[0]!, new RegExp(`udp ${GATEWAY}:9 > ${B}:9`));
});

const own = (word: number): boolean => addressWords(NODE)[3] === word;

function removedEndpoint(n: TestNode, endpoint: string): number {
  const [ip = '', port] = endpoint.split(':');
  const frontends = [{ kind: FrontendKind.CLUSTER_IP, address: addressWords(VIP), port: 80 }];
  const removed = { servicePort: { protocol: 6, frontends }, address: addressWords(ip), port: Number(port) };
  return flushEndpoints(n.conntrack, [removed], own);
}

test('a SYN that was never answered: sent again after its endpoint is gone, it reaches another, not who has the address now (amazon-vpc-cni-k8s #3634)', () => {
  const n = natNode().service(`tcp ${VIP}:80`, { endpoints: [`${B}:80`] });
  n.receive('a', `tcp ${A}:4000 > ${VIP}:80 S seq 1`);
  assert.is(n.sent('b').length, 1);
  n.service(`tcp ${VIP}:80`, { endpoints: [`${REMOTE}:80`] });
  assert.is(removedEndpoint(n, `${B}:80`), 1);
  assert.is(n.receive('a', `tcp ${A}:4000 > ${VIP}:80 S seq 1`), 'encapsulated');
  assert.is(n.sent('b').length, 0, 'b may be another pod by now');
});

test('one client port to a pod by its service, by a NodePort and directly, one after the other in any order (cilium #47396)', () => {
  const ways = [`${VIP}:80`, `${NODE}:30080`, `${B}:80`];
  for (const order of [ways, [...ways].reverse(), [ways[1]!, ways[2]!, ways[0]!]]) {
    const n = natNode().service(`tcp ${VIP}:80`, { endpoints: [`${B}:80`], nodePort: 30080 });
    for (const to of [...order, ...order]) {
      assert.is(n.receive('a', `tcp ${A}:4000 > ${to} S seq 1`), 'forwarded', to);
      const [, from = ''] = /^tcp (\S+) >/.exec(n.sent('b')[0]!)!;
      n.receive('b', `tcp ${B}:80 > ${from} SA seq 9 ack 2`);
      assert.match(n.sent('a')[0]!, new RegExp(`tcp ${to} > ${A}:4000 SA`), 'answered from where it was asked');
      n.receive('a', `tcp ${A}:4000 > ${to} A seq 2 ack 10`);
      n.receive('a', `tcp ${A}:4000 > ${to} FA seq 2 ack 10`);
      n.receive('b', `tcp ${B}:80 > ${from} FA seq 10 ack 3`);
      n.receive('a', `tcp ${A}:4000 > ${to} A seq 3 ack 11`);
      n.sent('a');
      n.sent('b');
      n.advance(1000);
    }
  }
});

test('after a reset, and after its record is gone, nothing of the connection leaves with the pod’s address (containernetworking/plugins #816)', () => {
  const n = natNode();
  n.receive('a', `tcp ${A}:4000 > ${SERVER}:80 S seq 1`);
  const [port] = portsOf(onlySent(n, 'host'));
  n.receive('host', `tcp ${SERVER}:80 > ${NODE}:${port} SA seq 9 ack 2`);
  n.receive('a', `tcp ${A}:4000 > ${SERVER}:80 A seq 2 ack 10`);
  n.receive('host', `tcp ${SERVER}:80 > ${NODE}:${port} R seq 10`);
  n.sent('host');
  for (const waitMs of [0, 5000, 11_000, 200_000]) {
    n.advance(waitMs);
    for (const text of ['PA seq 2 ack 10 len 100', 'FA seq 102 ack 10', 'R seq 103']) {
      n.receive('a', `tcp ${A}:4000 > ${SERVER}:80 ${text}`);
      for (const sent of n.sent('host')) assert.not.match(sent, new RegExp(`${A}[: ]`), `${text} after ${waitMs} ms`);
    }
  }
});

test('what the endpoint sends of its own after an unanswered first packet is translated (kubernetes #102128)', () => {
  const n = natNode().service(`sctp ${VIP}:36412`, { endpoints: [`${A}:36412`], nodePort: 30412, externalLocal: true });
  assert.is(n.receive('host', `sctp ${CLIENT}:36412 > ${NODE}:30412 len 40`), 'forwarded');
  n.sent('a');
  for (const len of [20, 60, 60]) {
    assert.is(n.receive('a', `sctp ${A}:36412 > ${CLIENT}:36412 len ${len}`), 'to-host');
    assert.match(n.sent('host')[0]!, new RegExp(`sctp ${NODE}:30412 > ${CLIENT}:36412`));
  }
});

test('a pod’s source port that is a NodePort is not kept on the node’s address: replies would be the service’s (cilium #34041)', () => {
  const n = natNode().service(`tcp ${VIP}:80`, { endpoints: [`${B}:80`], nodePort: 30080 });
  n.receive('a', `tcp ${A}:30080 > ${SERVER}:80 S seq 1`);
  const [port] = portsOf(onlySent(n, 'host'));
  assert.ok(port < 30000 || port > 32767, `${port}`);
  n.receive('host', `tcp ${SERVER}:80 > ${NODE}:${port} SA seq 9 ack 2`);
  assert.match(n.sent('a')[0]!, new RegExp(`tcp ${SERVER}:80 > ${A}:30080 SA`));
  assert.is(n.sent('b').length, 0);
});

test('a pod that is gone leaves its port to the server until its connection is over there (cilium #45863)', () => {
  const n = natNode();
  n.receive('a', `tcp ${A}:40000 > ${SERVER}:80 S seq 1`);
  const [port] = portsOf(onlySent(n, 'host'));
  n.receive('host', `tcp ${SERVER}:80 > ${NODE}:${port} SA seq 9 ack 2`);
  n.receive('a', `tcp ${A}:40000 > ${SERVER}:80 A seq 2 ack 10`);
  n.receive('host', `tcp ${SERVER}:80 > ${NODE}:${port} FA seq 10 ack 2`);
  n.receive('a', `tcp ${A}:40000 > ${SERVER}:80 FA seq 2 ack 11`);
  n.sent('host');
  n.sync.removePod('a');
  n.receive('b', `tcp ${B}:40000 > ${SERVER}:80 S seq 1`);
  const [other] = portsOf(onlySent(n, 'host'));
  assert.is.not(other, port);
});

test('ranges of sources hold at a load balancer’s address only, as in kube-proxy (cilium #44718, #17440)', () => {
  const n = natNode().service(`tcp ${VIP}:80`, {
    endpoints: [`${A}:80`],
    loadBalancerIP: '203.0.113.1',
    externalIP: '203.0.113.2',
    nodePort: 30080,
    sourceRanges: ['198.51.100.0/24'],
  });
  const from = (client: string, to: string) => n.receive('host', `tcp ${client}:4000 > ${to} S seq 1`);
  assert.is(from(CLIENT, '203.0.113.1:80'), 'source-range');
  assert.is(from('198.51.100.7', '203.0.113.1:80'), 'forwarded');
  assert.is(n.receive('b', `tcp ${B}:4000 > 203.0.113.1:80 S seq 1`), 'source-range', 'pods of the node as well');
  for (const to of ['203.0.113.2:80', `${NODE}:30080`]) assert.is(from(CLIENT, to), 'forwarded', to);
});

test('an error from behind an endpoint outside: the quote is the packet that the client sent to the service (cilium #47755, calico #8854)', () => {
  const n = natNode().service(`tcp ${VIP}:80`, { endpoints: ['198.51.100.7:8080'] });
  n.receive('a', `tcp ${A}:4000 > ${VIP}:80 S seq 1`);
  const [port] = portsOf(onlySent(n, 'host'));
  n.receive('host', `tcp 198.51.100.7:8080 > ${NODE}:${port} SA seq 9 ack 2`);
  n.receive('a', `tcp ${A}:4000 > ${VIP}:80 A seq 2 ack 10 len 1300`);
  n.sent('a');
  const quoted = `tcp ${NODE}:${port} > 198.51.100.7:8080 A seq 2 ack 10 len 1300`;
  n.receive('host', `icmp 192.0.2.1 > ${NODE} unreachable fragmentation-needed mtu 1200 (${quoted})`);
  assert.match(n.sentFully('a')[0]!, new RegExp(`mtu 1200 .*tcp ${A}:4000 > ${VIP}:80`));
});

test('multicast, broadcast and DHCP of a pod go nowhere, are counted, and are answered by nobody (antrea #4293, #3794)', () => {
  const n = natNode();
  for (const [text, dstMac] of [
    [`udp ${A}:5353 > 224.0.0.251:5353 len 40`, '01:00:5e:00:00:fb'],
    [`igmp ${A} > 224.0.0.22 len 16`, '01:00:5e:00:00:16'],
    [`udp ${A}:68 > 255.255.255.255:67 len 300`, 'ff:ff:ff:ff:ff:ff'],
    [`udp ${A}:137 > 10.244.1.255:137 len 50`, 'ff:ff:ff:ff:ff:ff'],
  ] as const) {
    assert.is(n.receive('a', text, { dstMac }), 'multicast', text);
  }
  // A group address at the gateway's MAC is one all the same.
  assert.is(n.receive('a', `udp ${A}:5353 > 224.0.0.251:5353 len 40`), 'multicast');
  assert.equal(n.out, []);
  assert.is(n.flows, 0);
});

test('a connection that one side has closed is kept for an hour: what comes late is translated (kubernetes #32551)', () => {
  const n = natNode();
  n.receive('a', `tcp ${A}:4000 > ${SERVER}:80 S seq 1`);
  const [port] = portsOf(onlySent(n, 'host'));
  n.receive('host', `tcp ${SERVER}:80 > ${NODE}:${port} SA seq 9 ack 2`);
  n.receive('a', `tcp ${A}:4000 > ${SERVER}:80 A seq 2 ack 10`);
  n.receive('host', `tcp ${SERVER}:80 > ${NODE}:${port} FA seq 10 ack 2`);
  n.receive('a', `tcp ${A}:4000 > ${SERVER}:80 A seq 2 ack 11`);
  n.sent('host');
  n.advance(59 * 60_000);
  assert.is(n.receive('a', `tcp ${A}:4000 > ${SERVER}:80 PA seq 2 ack 11 len 20`), 'to-host');
  assert.equal(portsOf(onlySent(n, 'host')), [port, 80]);
});

test('a NodePort is one of all of a node’s addresses: a client by a second one is balanced and answered from there (kubernetes #114815)', () => {
  const n = natNode().service(`udp ${VIP}:80`, { endpoints: [`${A}:80`], nodePort: 30080 });
  n.sync.setHostRoutes([{ network: addressWords(SECOND)[3] as number, prefix: 32, source: undefined }]);
  assert.is(n.receive('host', `udp ${CLIENT}:4000 > ${SECOND}:30080 len 8`), 'forwarded');
  const [, from = ''] = /^udp (\S+) >/.exec(n.sent('a')[0]!)!;
  n.receive('a', `udp ${A}:80 > ${from} len 8`);
  assert.match(n.sent('host')[0]!, new RegExp(`udp ${SECOND}:30080 > ${CLIENT}:4000`));
});

test.run();
