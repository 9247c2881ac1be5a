/**
 * What implementations of NetworkPolicy get wrong, each tried in several ways: isolation, lists that are empty or absent,
 * peers with one selector or two, blocks, ports, the node, established connections (networking/v1 types.go).
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fragments } from '../lib/frames/frame-builder.ts';
import { frame } from '../lib/frames/frame-text.ts';
import { A, B, GATEWAY, NODE, natNode, SERVER } from '../lib/nat-node.ts';
import { policyPod, type Spec, setPolicies } from '../lib/policies/policy-node.ts';
import { exchange, TestNode } from '../lib/test-node.ts';

const test = suite('traps of network policies');

const MAC_A = { dstMac: '0a:58:0a:f4:01:02' };
const MAC_B = { dstMac: '0a:58:0a:f4:01:03' };
const SERVICE = '10.96.0.10';
const web = (port: number, protocol = 'TCP') => [{ name: 'web', protocol, port }];
const CLIENT = policyPod(A, { app: 'client' });
const SERVER_POD = policyPod(B, { app: 'server' }, { ports: web(80) });
const PODS = [CLIENT, SERVER_POD];
const OTHER_TEAM = [policyPod(A, { app: 'client' }, { namespace: 'other' }), SERVER_POD];
const SERVERS = { podSelector: { matchLabels: { app: 'server' } } };
const CLIENTS = { podSelector: { matchLabels: { app: 'client' } } };
const TEAM_A = { namespaceSelector: { matchLabels: { team: 'a' } } };
const TEAM_B = { namespaceSelector: { matchLabels: { team: 'b' } } };
const block = (cidr: string, ...except: string[]) => ({ ipBlock: { cidr, ...(except.length > 0 && { except }) } });

const nodeWith = (pods: typeof PODS, ...specs: Spec[]): TestNode => {
  const n = natNode().service(`tcp ${SERVICE}:8080`, { endpoints: [`${B}:80`], nodePort: 31418 });
  setPolicies(n, pods, specs);
  return n;
};
const node = (...specs: Spec[]): TestNode => nodeWith(PODS, ...specs);

let port = 4000;
/** The verdict of the first packet of a connection from a to b. */
const ask = (n: TestNode, to = 80, protocol = 'tcp'): string => {
  const rest = protocol === 'tcp' ? 'S seq 1' : 'len 20';
  return n.receive('a', `${protocol} ${A}:${port++} > ${B}:${to} ${rest}`, MAC_B);
};
const back = (n: TestNode): string => n.receive('b', `tcp ${B}:${port++} > ${A}:80 S seq 1`, MAC_A);
const isOpen = (verdict: string): boolean => verdict === 'forwarded';
const ingress = (...from: NonNullable<NonNullable<Spec['ingress']>[0]['from']>): Spec => ({
  ...SERVERS,
  ingress: [{ from }],
});
const ports = (...list: NonNullable<NonNullable<Spec['ingress']>[0]['ports']>): Spec => ({
  ...SERVERS,
  ingress: [{ ports: list }],
});

test('1: isolation is per direction, and begins with the first policy that selects the pod', () => {
  const onlyIngress = node({ ...SERVERS, policyTypes: ['Ingress'] });
  assert.equal([ask(onlyIngress), back(onlyIngress)], ['policy-ingress', 'forwarded']);
  const onlyEgress = node({ ...SERVERS, policyTypes: ['Egress'] });
  assert.equal([ask(onlyEgress), back(onlyEgress)], ['forwarded', 'policy-egress']);
  assert.is(ask(node({ podSelector: { matchLabels: { app: 'another' } }, policyTypes: ['Ingress'] })), 'forwarded');
});

test('1: without policyTypes a policy is of ingress, and of egress only if it has rules of egress', () => {
  const none = node(SERVERS);
  assert.equal([ask(none), back(none)], ['policy-ingress', 'forwarded']);
  const empty = node({ ...SERVERS, egress: [] });
  assert.equal([ask(empty), back(empty)], ['policy-ingress', 'forwarded']);
  const some = node({ ...SERVERS, egress: [{ ports: [{ port: 443 }] }] });
  assert.equal([ask(some), back(some)], ['policy-ingress', 'policy-egress']);
});

test('1: policyTypes of Egress alone leaves ingress open, whatever rules of ingress there are', () => {
  assert.is(ask(node({ ...SERVERS, policyTypes: ['Egress'], ingress: [{ from: [TEAM_B] }] })), 'forwarded');
});

test('2: policies add up, in whatever order: none can take away what another allows', () => {
  const deny: Spec = { podSelector: {}, policyTypes: ['Ingress'] };
  const allow = ingress(CLIENTS);
  const unrelated = ports({ port: 9999 });
  for (const specs of [
    [deny, allow],
    [allow, deny],
    [allow, unrelated, deny],
    [unrelated, deny, allow],
  ]) {
    assert.is(ask(node(...specs)), 'forwarded');
  }
  assert.is(ask(node(deny, unrelated)), 'policy-ingress');
});

test('3: one peer with both selectors is AND, two peers are OR', () => {
  const and = ingress({ ...TEAM_A, ...CLIENTS });
  const or = ingress(TEAM_A, CLIENTS);
  // The client is in another namespace than TEAM_A, with the right label.
  assert.equal([ask(node(and)), ask(node(or))], ['policy-ingress', 'forwarded']);
  // The client is of TEAM_A, with the right label.
  assert.equal([ask(nodeWith(OTHER_TEAM, and)), ask(nodeWith(OTHER_TEAM, or))], ['forwarded', 'forwarded']);
  // Of TEAM_A, with another label.
  const stranger = [policyPod(A, { app: 'x' }, { namespace: 'other' }), SERVER_POD];
  assert.equal([ask(nodeWith(stranger, and)), ask(nodeWith(stranger, or))], ['policy-ingress', 'forwarded']);
});

test('4: a podSelector alone selects in the policy’s own namespace', () => {
  assert.is(ask(node(ingress(CLIENTS))), 'forwarded');
  assert.is(ask(nodeWith(OTHER_TEAM, ingress(CLIENTS))), 'policy-ingress');
  assert.is(ask(nodeWith(OTHER_TEAM, ingress({ podSelector: {} }))), 'policy-ingress', 'all pods of its namespace');
  assert.is(ask(nodeWith(OTHER_TEAM, ingress({ podSelector: {}, namespaceSelector: {} }))), 'forwarded');
});

test('4: an empty selector selects all; no list of peers or ports allows all; no rules allow nothing', () => {
  assert.is(ask(node(ingress({ podSelector: {} }))), 'forwarded');
  assert.is(ask(node({ ...SERVERS, ingress: [{}] })), 'forwarded');
  assert.is(ask(node({ ...SERVERS, ingress: [{ from: [], ports: [] }] })), 'forwarded');
  assert.is(ask(node({ ...SERVERS, ingress: [] })), 'policy-ingress');
  assert.is(ask(node({ podSelector: {}, ingress: [] })), 'policy-ingress');
});

test('4: an empty namespaceSelector is every namespace, and no address outside', () => {
  const all = ingress({ namespaceSelector: {} });
  assert.is(ask(nodeWith(OTHER_TEAM, all)), 'forwarded');
  const n = node(all);
  assert.is(n.receive('host', `tcp ${SERVER}:5000 > ${NODE}:31418 S seq 1`), 'policy-ingress');
});

test('5: except narrows its own block alone: another rule, or another block, may allow the address', () => {
  const narrow = block('10.244.0.0/16', `${A}/32`);
  assert.is(ask(node(ingress(narrow))), 'policy-ingress');
  assert.is(ask(node(ingress(narrow, block('10.244.1.0/24')))), 'forwarded');
  assert.is(ask(node(ingress(narrow), ingress(CLIENTS))), 'forwarded');
  assert.is(ask(node(ingress(block('10.244.0.0/16', '10.244.1.0/24', `${A}/32`)))), 'policy-ingress');
});

test('5: blocks compare addresses, not text: host bits in a block do not matter, its ends belong to it', () => {
  assert.is(ask(node(ingress(block(`${A}/24`)))), 'forwarded');
  assert.is(ask(node(ingress(block('10.244.1.2/31')))), 'forwarded');
  assert.is(ask(node(ingress(block('10.244.1.0/31')))), 'policy-ingress', 'ends at 10.244.1.1');
  assert.is(ask(node(ingress(block('0.0.0.0/0')))), 'forwarded');
  assert.is(ask(node(ingress(block('::/0')))), 'policy-ingress', 'addresses of the other family');
});

test('6: the destination is judged after the Service’s translation, the source before it is masqueraded', () => {
  const throughService = (n: TestNode) => n.receive('a', `tcp ${A}:${port++} > ${SERVICE}:8080 S seq 1`);
  assert.is(throughService(node(ingress(CLIENTS))), 'forwarded');
  const toService: Spec = { ...CLIENTS, policyTypes: ['Egress'], egress: [{ to: [block(`${SERVICE}/32`)] }] };
  assert.is(throughService(node(toService)), 'policy-egress', 'the address of a Service is no destination');
  const toPod: Spec = { ...CLIENTS, policyTypes: ['Egress'], egress: [{ to: [SERVERS] }] };
  assert.is(throughService(node(toPod)), 'forwarded');
  const knock = (n: TestNode) => n.receive('host', `tcp ${SERVER}:${port++} > ${NODE}:31418 S seq 1`);
  assert.equal(
    [knock(node(ingress(block(`${SERVER}/32`)))), knock(node(ingress(block(`${NODE}/32`))))],
    ['forwarded', 'policy-ingress'],
  );
});

test('6: across nodes the client of a NodePort is judged where it enters, in each of the ways that it can', () => {
  const two = new TestNode({ number: 2 })
    .peer(1)
    .service(`tcp ${SERVICE}:80`, { endpoints: [`${B}:80`], nodePort: 31418 });
  const knock = (...specs: Spec[]) => {
    setPolicies(two, PODS, specs);
    return two.receive('host', `tcp ${SERVER}:${port++} > 172.18.0.12:31418 S seq 1`);
  };
  assert.is(knock(ingress(block(`${SERVER}/32`))), 'encapsulated');
  assert.is(knock(ingress(block('172.18.0.12/32'))), 'policy-ingress', 'the node that masquerades');
  assert.is(knock(ingress(block('0.0.0.0/0', `${SERVER}/32`))), 'policy-ingress');
  assert.is(knock(ingress(CLIENTS)), 'policy-ingress');
});

test('7: a named port is the target pod’s own, and may be another of each', () => {
  const named = ports({ port: 'web' });
  assert.equal([ask(node(named)), ask(node(named), 81)], ['forwarded', 'policy-ingress']);
  const moved = [CLIENT, policyPod(B, { app: 'server' }, { ports: web(81) })];
  assert.equal([ask(nodeWith(moved, named)), ask(nodeWith(moved, named), 81)], ['policy-ingress', 'forwarded']);
  const none = [CLIENT, policyPod(B, { app: 'server' })];
  assert.is(ask(nodeWith(none, named)), 'policy-ingress', 'a pod without such a port has none');
});

test('7: a named port of egress is the receiver’s, never the sender’s', () => {
  const egress: Spec = { ...CLIENTS, policyTypes: ['Egress'], egress: [{ ports: [{ port: 'web' }] }] };
  const both = [policyPod(A, { app: 'client' }, { ports: web(9000) }), SERVER_POD];
  assert.equal([ask(nodeWith(both, egress)), ask(nodeWith(both, egress), 9000)], ['forwarded', 'policy-egress']);
  const n = nodeWith(both, egress);
  assert.is(n.receive('a', `tcp ${A}:4000 > ${SERVER}:80 S seq 1`), 'policy-egress', 'an address outside has none');
});

test('7: a named port is of one protocol', () => {
  const udp = [CLIENT, policyPod(B, { app: 'server' }, { ports: web(80, 'UDP') })];
  assert.is(ask(nodeWith(udp, ports({ port: 'web' }))), 'policy-ingress', 'TCP, where none is named');
  assert.is(ask(nodeWith(udp, ports({ port: 'web', protocol: 'UDP' })), 80, 'udp'), 'forwarded');
  assert.is(ask(nodeWith(udp, ports({ port: 'web', protocol: 'UDP' }))), 'policy-ingress');
});

test('8: endPort ends the range with itself; both ends belong to it', () => {
  const range = ports({ port: 80, endPort: 90 });
  const verdicts = [79, 80, 85, 90, 91].map((to) => isOpen(ask(node(range), to)));
  assert.equal(verdicts, [false, true, true, true, false]);
  assert.equal(
    [ask(node(ports({ port: 80, endPort: 80 }))), ask(node(ports({ port: 80, endPort: 80 })), 81)],
    ['forwarded', 'policy-ingress'],
  );
  assert.is(ask(node(ports({ port: 1, endPort: 65_535 })), 65_535), 'forwarded');
  assert.is(ask(node(range), 80, 'udp'), 'policy-ingress', 'and it is of TCP');
});

test('8: no protocol is TCP; no port is every port of the protocol; SCTP is neither TCP nor UDP', () => {
  assert.equal(
    ['tcp', 'udp', 'sctp'].map((protocol) => isOpen(ask(node(ports({ port: 80 })), 80, protocol))),
    [true, false, false],
  );
  assert.equal(
    ['tcp', 'udp', 'sctp'].map((protocol) => isOpen(ask(node(ports({ protocol: 'UDP' })), 12_345, protocol))),
    [false, true, false],
  );
  assert.equal(
    ['tcp', 'udp', 'sctp'].map((protocol) => isOpen(ask(node(ports({ port: 80, protocol: 'SCTP' })), 80, protocol))),
    [false, false, true],
  );
});

test('9: a pod on the host’s network is its node: the node’s address as a peer, and never isolated', () => {
  const toHost = (n: TestNode) => n.receive('a', `tcp ${A}:${port++} > 172.18.0.12:80 S seq 1`);
  const egress = (cidr: string): Spec => ({ ...CLIENTS, policyTypes: ['Egress'], egress: [{ to: [block(cidr)] }] });
  assert.is(toHost(node(egress('172.18.0.12/32'))), 'to-host');
  assert.is(toHost(node(egress('10.244.0.0/16'))), 'policy-egress');
  assert.is(
    toHost(node({ ...CLIENTS, policyTypes: ['Egress'], egress: [{ to: [{ namespaceSelector: {} }] }] })),
    'policy-egress',
  );
});

test('9: a node always reaches its own pods, and they it, over any protocol', () => {
  const closed: Spec = { podSelector: {}, policyTypes: ['Ingress', 'Egress'] };
  const n = node(closed);
  assert.is(n.receive('host', `tcp ${GATEWAY}:5000 > ${B}:80 S seq 1`), 'forwarded');
  assert.is(n.receive('host', `udp ${GATEWAY}:5000 > ${B}:53 len 8`), 'forwarded');
  assert.is(n.receive('host', `icmp ${GATEWAY} > ${B} echo-request id 7 seq 1`), 'forwarded');
  assert.is(n.receive('b', `tcp ${B}:6000 > ${NODE}:10250 S seq 1`), 'to-host');
});

test('10: a change is in force for connections that are established, and gives them back', () => {
  const n = node(ingress(CLIENTS));
  assert.is(n.receive('a', `tcp ${A}:100 > ${B}:80 S seq 1`, MAC_B), 'forwarded');
  assert.is(n.receive('b', `tcp ${B}:80 > ${A}:100 SA seq 5 ack 2`, MAC_A), 'forwarded');
  const data = () => n.receive('a', `tcp ${A}:100 > ${B}:80 PA seq 2 ack 6 len 3`, MAC_B);
  assert.is(data(), 'forwarded');
  setPolicies(n, PODS, [ports({ port: 81 })]);
  assert.equal(
    [data(), n.receive('b', `tcp ${B}:80 > ${A}:100 A seq 6 ack 5`, MAC_A)],
    ['policy-ingress', 'policy-ingress'],
  );
  setPolicies(n, PODS, [ports({ port: 81 }), ingress(CLIENTS)]);
  assert.is(data(), 'forwarded');
});

test('10: replies of an allowed connection pass, though both pods are isolated in the other direction', () => {
  const closed: Spec = { podSelector: {}, policyTypes: ['Ingress', 'Egress'] };
  const egress: Spec = { ...CLIENTS, policyTypes: ['Egress'], egress: [{ to: [SERVERS] }] };
  const n = node(closed, egress, ingress(CLIENTS));
  assert.is(n.receive('a', `udp ${A}:200 > ${B}:80 len 8`, MAC_B), 'forwarded');
  assert.is(n.receive('b', `udp ${B}:80 > ${A}:200 len 8`, MAC_A), 'forwarded');
  assert.is(n.receive('b', `udp ${B}:80 > ${A}:201 len 8`, MAC_A), 'policy-egress', 'to another port it is no reply');
});

test('10: a denied answer opens nothing: neither a reply nor its own direction is open afterwards', () => {
  const n = node({ ...SERVERS, policyTypes: ['Egress'] }, { ...CLIENTS, policyTypes: ['Egress'] });
  for (let i = 0; i < 3; i++) assert.is(n.receive('b', `udp ${B}:53 > ${A}:5353 len 8`, MAC_A), 'policy-egress');
  assert.is(n.receive('a', `udp ${A}:5353 > ${B}:53 len 8`, MAC_B), 'policy-egress');
  assert.is(n.receive('b', `tcp ${B}:80 > ${A}:4000 SA seq 1 ack 1`, MAC_A), 'policy-egress');
  assert.is(n.flows, 0);
});

test('ICMP errors about an allowed connection pass, though ICMP itself is denied; about a denied one they do not', () => {
  const n = node(ports({ port: 80, protocol: 'UDP' }), { ...CLIENTS, policyTypes: ['Ingress'] });
  assert.is(n.receive('a', `udp ${A}:300 > ${B}:80 len 8`, MAC_B), 'forwarded');
  const error = (from: number, to: number) =>
    n.receive('b', `icmp ${B} > ${A} unreachable port (udp ${A}:${from} > ${B}:${to} len 8)`, MAC_A);
  assert.is(error(300, 80), 'forwarded');
  assert.is(n.receive('a', `udp ${A}:301 > ${B}:81 len 8`, MAC_B), 'policy-ingress');
  assert.not.equal(error(301, 81), 'forwarded');
  assert.is(n.receive('b', `icmp ${B} > ${A} echo-request id 7 seq 1`, MAC_A), 'policy-ingress');
});

test('fragments that arrive before the first of their datagram pass or fall with it', () => {
  const whole = (to: number) =>
    frame(`udp ${A}:${port++} > ${B}:${to} len 1200`, { srcMac: MAC_A.dstMac, ...MAC_B, df: false });
  const arrive = (n: TestNode, to: number) => {
    for (const piece of fragments(whole(to), 600).reverse()) n.receiveBytes('a', piece);
    return n.sentFrames('b').length;
  };
  const allowed = ports({ port: 80, protocol: 'UDP' });
  assert.ok(arrive(node(allowed), 80) >= 2);
  assert.is(arrive(node(allowed), 81), 0);
});

test('a pod that reaches itself through its Service is allowed whatever isolates it, on each path', () => {
  const closed: Spec = { podSelector: {}, policyTypes: ['Ingress', 'Egress'] };
  const n = node(closed);
  assert.is(n.receive('b', `tcp ${B}:4000 > ${SERVICE}:8080 S seq 1`), 'forwarded');
  assert.is(n.receive('b', `tcp ${B}:4001 > ${NODE}:31418 S seq 1`), 'forwarded');
  assert.is(n.receive('a', `tcp ${A}:4002 > ${SERVICE}:8080 S seq 1`), 'policy-egress', 'another pod does not');
});

test('a pod whose policies are not known yet is closed in both directions, from both nodes', () => {
  const one = new TestNode({ number: 1 }).pod('new', '10.244.1.9').peer(2);
  const two = new TestNode({ number: 2 }).pod('far', '10.244.2.2').peer(1);
  const pods = [policyPod('10.244.2.2', { app: 'far' })];
  for (const each of [one, two]) setPolicies(each, pods, [{ podSelector: { matchLabels: { app: 'nobody' } } }]);
  assert.is(one.receive('new', 'tcp 10.244.1.9:4000 > 10.244.2.2:80 S seq 1'), 'policy-egress');
  assert.is(two.receive('far', 'tcp 10.244.2.2:4000 > 10.244.1.9:80 S seq 1'), 'encapsulated');
  exchange(one, two);
  assert.equal(one.sentFrames('new'), []);
});

test('a label acts at once on connections that are established: of either end, and given back', () => {
  const n = node(ingress(CLIENTS));
  assert.is(n.receive('a', `tcp ${A}:100 > ${B}:80 S seq 1`, MAC_B), 'forwarded');
  assert.is(n.receive('b', `tcp ${B}:80 > ${A}:100 SA seq 5 ack 2`, MAC_A), 'forwarded');
  const data = () => n.receive('a', `tcp ${A}:100 > ${B}:80 PA seq 2 ack 6 len 3`, MAC_B);
  setPolicies(n, [policyPod(A, { app: 'x' }), SERVER_POD], [ingress(CLIENTS)]);
  assert.is(data(), 'policy-ingress');
  setPolicies(n, [policyPod(A, { app: 'x' }), policyPod(B, { app: 'y' })], [ingress(CLIENTS)]);
  assert.is(data(), 'forwarded', 'the policy selects the server no more');
  setPolicies(n, PODS, [ingress(CLIENTS)]);
  assert.is(data(), 'forwarded');
});

test.run();
