/** NetworkPolicy in the pipeline: whom it judges, when, and what passes whatever it says (networking/v1, docs/policy.md). */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fragments } from '../lib/frames/frame-builder.ts';
import { frame } from '../lib/frames/frame-text.ts';
import { A, B, GATEWAY, NODE, natNode, SERVER } from '../lib/nat-node.ts';
import { policyPod, type Spec, setPolicies } from '../lib/policies/policy-node.ts';
import { exchange, TestNode } from '../lib/test-node.ts';

const test = suite('network policy');

const MAC_A = { dstMac: '0a:58:0a:f4:01:02' };
const MAC_B = { dstMac: '0a:58:0a:f4:01:03' };
const SERVICE = '10.96.0.10';
const FAR = '10.244.2.2';
const PODS = [policyPod(A, { app: 'client' }), policyPod(B, { app: 'server' }), policyPod(FAR, { app: 'far' })];
const SERVER_PODS = { podSelector: { matchLabels: { app: 'server' } } };
const CLIENT_PODS = { podSelector: { matchLabels: { app: 'client' } } };
const DENY_TO_SERVER: Spec = { ...SERVER_PODS, policyTypes: ['Ingress'] };
const DENY_FROM_CLIENT: Spec = { ...CLIENT_PODS, policyTypes: ['Egress'] };
const ALLOW_CLIENT: Spec = { ...SERVER_PODS, ingress: [{ from: [CLIENT_PODS], ports: [{ port: 80 }] }] };

const node = (...specs: Spec[]): TestNode => {
  const n = natNode().service(`tcp ${SERVICE}:8080`, { endpoints: [`${B}:80`], nodePort: 31418 });
  setPolicies(n, PODS, specs);
  return n;
};
const syn = (n: TestNode, port = 80, from = 4000) => n.receive('a', `tcp ${A}:${from} > ${B}:${port} S seq 1`, MAC_B);

/** A connection of a to b, established. */
function connect(n: TestNode): void {
  assert.is(syn(n), 'forwarded');
  assert.is(n.receive('b', `tcp ${B}:80 > ${A}:4000 SA seq 5 ack 2`, MAC_A), 'forwarded');
  assert.is(n.receive('a', `tcp ${A}:4000 > ${B}:80 A seq 2 ack 6`, MAC_B), 'forwarded');
}

test('a pod that no policy selects is not isolated', () => {
  assert.is(syn(node()), 'forwarded');
  assert.is(syn(node({ podSelector: { matchLabels: { app: 'nobody' } } })), 'forwarded');
});

test('ingress: denied silently, without a trace in the connection table; allowed by label and port', () => {
  const denied = node(DENY_TO_SERVER);
  assert.is(syn(denied), 'policy-ingress');
  assert.is(denied.sentFrames('a').length, 0);
  assert.is(denied.flows, 0);
  assert.is(syn(node(DENY_TO_SERVER, ALLOW_CLIENT)), 'forwarded');
  assert.is(syn(node(DENY_TO_SERVER, ALLOW_CLIENT), 81), 'policy-ingress');
});

test('egress is the sender’s, and is judged first', () => {
  assert.is(syn(node(DENY_FROM_CLIENT, DENY_TO_SERVER)), 'policy-egress');
  assert.is(syn(node({ ...DENY_FROM_CLIENT, egress: [{ to: [SERVER_PODS] }] })), 'forwarded');
  assert.is(syn(node({ ...DENY_FROM_CLIENT, egress: [{ to: [SERVER_PODS] }] }, DENY_TO_SERVER)), 'policy-ingress');
});

test('through a Service the pod’s own port counts, never the Service’s', () => {
  const ask = (n: TestNode) => n.receive('a', `tcp ${A}:4000 > ${SERVICE}:8080 S seq 1`);
  assert.is(ask(node(ALLOW_CLIENT)), 'forwarded');
  assert.is(ask(node({ ...SERVER_PODS, ingress: [{ ports: [{ port: 8080 }] }] })), 'policy-ingress');
});

test('replies of an allowed connection pass, although their own direction is denied', () => {
  const n = node(ALLOW_CLIENT, { ...SERVER_PODS, policyTypes: ['Egress'] });
  connect(n);
  assert.is(n.receive('b', `tcp ${B}:5000 > ${A}:80 S seq 1`, MAC_A), 'policy-egress');
});

test('an answer that nothing asked for opens no way back', () => {
  const n = node(ALLOW_CLIENT);
  assert.is(n.receive('a', `udp ${A}:53 > ${B}:5353 len 8`, MAC_B), 'policy-ingress');
  assert.is(n.receive('b', `udp ${B}:5353 > ${A}:53 len 8`, MAC_A), 'forwarded', 'b may send: a is not isolated');
  assert.is(n.receive('a', `udp ${A}:53 > ${B}:5353 len 8`, MAC_B), 'forwarded', 'and this is the reply to it');
});

test('a policy acts on established connections too, in both directions, and its removal gives them back', () => {
  const n = node();
  connect(n);
  setPolicies(n, PODS, [DENY_TO_SERVER]);
  assert.is(n.receive('a', `tcp ${A}:4000 > ${B}:80 PA seq 2 ack 6 len 3`, MAC_B), 'policy-ingress');
  assert.is(n.receive('b', `tcp ${B}:80 > ${A}:4000 PA seq 6 ack 2 len 3`, MAC_A), 'policy-ingress');
  setPolicies(n, PODS, [DENY_FROM_CLIENT]);
  assert.is(n.receive('b', `tcp ${B}:80 > ${A}:4000 PA seq 6 ack 2 len 3`, MAC_A), 'policy-egress');
  setPolicies(n, PODS, [DENY_TO_SERVER, ALLOW_CLIENT]);
  assert.is(n.receive('b', `tcp ${B}:80 > ${A}:4000 PA seq 6 ack 2 len 3`, MAC_A), 'forwarded');
  setPolicies(n, PODS, []);
  assert.is(n.receive('a', `tcp ${A}:4000 > ${B}:80 A seq 2 ack 9`, MAC_B), 'forwarded');
});

test('a changed label acts like a changed policy', () => {
  const n = node(ALLOW_CLIENT);
  connect(n);
  setPolicies(n, [policyPod(A, { app: 'stranger' }), ...PODS.slice(1)], [ALLOW_CLIENT]);
  assert.is(n.receive('a', `tcp ${A}:4000 > ${B}:80 A seq 2 ack 6`, MAC_B), 'policy-ingress');
});

test('through a NodePort the client outside is judged, although the pod sees a masqueraded source', () => {
  const block = (cidr: string): Spec => ({ ...SERVER_PODS, ingress: [{ from: [{ ipBlock: { cidr } }] }] });
  const knock = (n: TestNode) => n.receive('host', `tcp ${SERVER}:5000 > ${NODE}:31418 S seq 1`);
  assert.is(knock(node(block(`${SERVER}/32`))), 'forwarded');
  assert.is(knock(node(block(`${NODE}/32`))), 'policy-ingress');
  const except: Spec = {
    ...SERVER_PODS,
    ingress: [{ from: [{ ipBlock: { cidr: '0.0.0.0/0', except: [`${SERVER}/32`] } }] }],
  };
  assert.is(knock(node(except)), 'policy-ingress');
});

test('through the NodePort of another node: it judges the client, and the pod’s node trusts that node’s gateway', () => {
  const service = { endpoints: [`${B}:80`], nodePort: 31418 };
  const one = new TestNode({ number: 1 }).pod('b', B).peer(2);
  const two = new TestNode({ number: 2 }).peer(1).service(`tcp ${SERVICE}:80`, service);
  const allow: Spec = { ...SERVER_PODS, ingress: [{ from: [{ ipBlock: { cidr: `${SERVER}/32` } }] }] };
  for (const each of [one, two]) setPolicies(each, PODS, [allow]);
  assert.is(two.receive('host', `tcp ${SERVER}:5000 > 172.18.0.12:31418 S seq 1`), 'encapsulated');
  exchange(one, two);
  assert.equal(one.sent('b'), [`tcp 10.244.2.1:5000 > ${B}:80 S`]);
  assert.is(two.receive('host', `tcp 198.51.100.9:5000 > 172.18.0.12:31418 S seq 1`), 'policy-ingress');
});

test('a node may always reach its own pods, and is reached by them; another node’s processes are judged there', () => {
  const n = node(DENY_TO_SERVER, { ...SERVER_PODS, policyTypes: ['Egress'] });
  assert.is(n.receive('host', `tcp ${GATEWAY}:5000 > ${B}:80 S seq 1`), 'forwarded', 'a kubelet’s probe');
  assert.is(n.receive('b', `tcp ${B}:80 > ${GATEWAY}:5000 SA seq 1 ack 2`), 'to-host', 'its answer');
  assert.is(n.receive('b', `tcp ${B}:6000 > ${NODE}:22 S seq 1`), 'to-host');
});

test('a pod reaches itself through its Service whatever its policies say', () => {
  const n = node(DENY_TO_SERVER, { ...SERVER_PODS, policyTypes: ['Egress'] });
  assert.is(n.receive('b', `tcp ${B}:4000 > ${SERVICE}:8080 S seq 1`), 'forwarded');
});

test('ICMP is allowed by rules without ports alone', () => {
  const ping = (n: TestNode) => n.receive('a', `icmp ${A} > ${B} echo-request id 7 seq 1`, MAC_B);
  assert.is(ping(node(ALLOW_CLIENT)), 'policy-ingress');
  assert.is(ping(node({ ...SERVER_PODS, ingress: [{ from: [CLIENT_PODS] }] })), 'forwarded');
});

test('fragments share the fate of their first', () => {
  const send = (n: TestNode) => {
    const whole = frame(`udp ${A}:4000 > ${B}:80 len 1200`, { srcMac: '0a:58:0a:f4:01:02', ...MAC_B, df: false });
    return fragments(whole, 600).map((piece) => n.receiveBytes('a', piece));
  };
  const allowed: Spec = { ...SERVER_PODS, ingress: [{ ports: [{ protocol: 'UDP', port: 80 }] }] };
  assert.equal(new Set(send(node(allowed))), new Set(['forwarded']));
  const denied = node(DENY_TO_SERVER);
  assert.is(send(denied)[0], 'policy-ingress');
  assert.equal(denied.sentFrames('b'), []);
});

test('the outside is reached as egress rules say, by addresses', () => {
  const to = (cidr: string, port: number): Spec => ({
    ...CLIENT_PODS,
    egress: [{ to: [{ ipBlock: { cidr } }], ports: [{ port }] }],
    policyTypes: ['Egress'],
  });
  const ask = (n: TestNode) => n.receive('a', `tcp ${A}:4000 > ${SERVER}:443 S seq 1`);
  assert.is(ask(node(to(`${SERVER}/32`, 443))), 'to-host');
  assert.is(ask(node(to(`${SERVER}/32`, 80))), 'policy-egress');
  assert.is(ask(node(to('198.51.0.0/16', 443))), 'policy-egress');
});

test('the node’s name server stands for the pods of kube-dns', () => {
  const dns = (spec: Spec | undefined) => {
    const n = natNode().service('udp 10.96.0.53:53', { endpoints: [`${NODE}:10053`] });
    setPolicies(n, PODS, spec ? [spec] : [DENY_FROM_CLIENT], { dnsPort: 10053 });
    return n.receive('a', `udp ${A}:4000 > 10.96.0.53:53 len 30`);
  };
  assert.is(dns(undefined), 'policy-egress');
  const kubeDns = {
    namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } },
    podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } },
  };
  assert.is(
    dns({ ...DENY_FROM_CLIENT, egress: [{ to: [kubeDns], ports: [{ protocol: 'UDP', port: 53 }] }] }),
    'to-host',
  );
  assert.is(
    dns({ ...DENY_FROM_CLIENT, egress: [{ to: [kubeDns], ports: [{ protocol: 'UDP', port: 10053 }] }] }),
    'policy-egress',
  );
});

test('a pod of this node of which no policy is known yet is closed while there are policies', () => {
  const n = natNode().pod('new', '10.244.1.9');
  setPolicies(n, PODS, [ALLOW_CLIENT]);
  assert.is(n.receive('new', `tcp 10.244.1.9:4000 > ${A}:80 S seq 1`, MAC_A), 'policy-egress');
  assert.is(n.receive('a', `tcp ${A}:4000 > 10.244.1.9:80 S seq 1`, { dstMac: '0a:58:0a:f4:01:09' }), 'policy-ingress');
});

test('to a pod of another node: this node judges as far as it knows, and so does the other', () => {
  const one = new TestNode({ number: 1 }).pod('a', A).peer(2);
  const two = new TestNode({ number: 2 }).pod('far', FAR).peer(1);
  const deny: Spec = { podSelector: { matchLabels: { app: 'far' } }, policyTypes: ['Ingress'] };
  setPolicies(two, PODS, [deny]);
  assert.is(one.receive('a', `tcp ${A}:4000 > ${FAR}:80 S seq 1`), 'encapsulated');
  exchange(one, two);
  assert.equal(two.sentFrames('far'), []);
  assert.equal(two.countersMoved(), { 'policy-ingress': 1 });
  setPolicies(one, PODS, [deny]);
  assert.is(one.receive('a', `tcp ${A}:4001 > ${FAR}:80 S seq 1`), 'policy-ingress');
});

test.run();
