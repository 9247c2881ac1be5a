/**
 * Spoofed packets: tunnel packets from pods, sources that only the node or its pods may use, and ICMP errors from hosts
 * that are not on the path. Addresses are checked as they arrive, and again after translation.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TestNode } from '../lib/test-node.ts';

const A = '10.244.1.2';
const B = '10.244.1.3';
const C = '10.244.1.4';
const FAR = '10.244.2.2';
const NODE = '172.18.0.11';
const OUTSIDE = '172.18.0.50';
/** The node's own MAC on the underlay: frames that the shortcut moved to dp0. */
const BY_SHORTCUT = { dstMac: '02:00:00:00:00:77' };
const TO_A = { dstMac: '0a:58:0a:f4:01:02' };

function node(): TestNode {
  return new TestNode().pod('a', A).pod('b', B).pod('c', C).peer(2);
}

/** A packet from node 2, encapsulated. */
const tunnelled = (inner: string) => `vxlan 172.18.0.12:50000 > ${NODE}:4789 vni 1 (${inner})`;

test("a pod's tunnel packet to an address of the pod network that belongs to a node is dropped", () => {
  for (const own of ['10.244.2.0', '10.244.2.1', '10.244.1.1']) {
    assert.is(node().receive('a', `udp ${A}:50000 > ${own}:4789 len 60`), 'overlay-from-pod', own);
    assert.is(node().receive('a', `udp ${A}:50000 > ${own}:8472 len 60`), 'overlay-from-pod', own);
    assert.is(node().receive('a', `ipip ${A} > ${own} (tcp ${FAR}:1 > ${B}:2 S)`), 'overlay-from-pod', own);
  }
  assert.is(
    node().receive('a', `udp ${A}:50000 > ${FAR}:4789 len 60`),
    'encapsulated',
    'pods may use tunnels between themselves',
  );
});

test('a pod replies to a UDP client outside whose port is a tunnel’s, and to no node: its address may be forged', () => {
  for (const port of [4789, 8472, 6081]) {
    const n = node().service('udp 10.96.0.10:80', { endpoints: [`${B}:80`], nodePort: 30080, externalLocal: true });
    assert.is(n.receive('host', `udp ${OUTSIDE}:${port} > ${NODE}:30080 len 60`), 'forwarded');
    assert.is(n.receive('b', `udp ${B}:80 > ${OUTSIDE}:${port} len 60`), 'to-host');
    assert.equal(n.sent('host'), [`udp ${NODE}:30080 > ${OUTSIDE}:${port}`]);
    assert.is(n.receive('b', `udp ${B}:81 > ${OUTSIDE}:${port} len 60`), 'overlay-from-pod', 'nothing asked for this');
    assert.is(n.receive('host', `udp 172.18.0.12:${port} > ${NODE}:30080 len 60`), 'forwarded');
    assert.is(n.receive('b', `udp ${B}:80 > 172.18.0.12:${port} len 60`), 'overlay-from-pod', 'a node');
    assert.equal(n.sent('host'), []);
  }
});

test('a service whose endpoint is the tunnel endpoint of a node forwards nothing to it, from any client', () => {
  for (const endpoint of ['172.18.0.12:4789', '10.244.2.1:4789', '172.18.0.12:8472']) {
    const n = node().service('udp 10.96.0.10:80', { endpoints: [endpoint], nodePort: 30080 });
    assert.is(n.receive('a', `udp ${A}:1 > 10.96.0.10:80 len 60`), 'overlay-from-pod', endpoint);
    assert.is(n.receive('host', `udp ${OUTSIDE}:1 > ${NODE}:30080 len 60`), 'overlay-from-pod', endpoint);
    assert.is(n.receive('host', tunnelled(`udp ${FAR}:1 > 10.96.0.10:80 len 60`)), 'overlay-from-pod', endpoint);
    assert.is(n.flows, 0);
  }
});

test('a frame from the underlay with the source of the node or of its gateway is dropped', () => {
  const served = () => node().service('tcp 10.96.0.10:80', { endpoints: [`${B}:80`], nodePort: 30080 });
  for (const source of [NODE, '10.244.1.1']) {
    const n = served();
    const syn = `tcp ${source}:5000 > ${NODE}:30080 S`;
    assert.is(n.receive('host', syn, BY_SHORTCUT), 'spoofed-source-ip', source);
    assert.is(n.flows, 0);
    assert.is(n.receive('host', syn), 'forwarded', 'routed by the kernel, which has checked the source');
  }
  assert.is(served().receive('host', `tcp ${OUTSIDE}:5000 > ${NODE}:30080 S`, BY_SHORTCUT), 'forwarded');
});

test('an ICMP error about packets between two pods is accepted only from the pod they were sent to', () => {
  const n = node();
  n.receive('a', `udp ${A}:4000 > ${B}:53 len 8`);
  const error = (from: string, by: string, quoted = `udp ${A}:4000 > ${B}:53 len 8`, options = {}) =>
    n.receive(by, `icmp ${from} > ${A} unreachable port (${quoted})`, options);
  assert.is(error(C, 'c'), 'icmp-error-unrelated');
  assert.is(error(OUTSIDE, 'host', undefined, BY_SHORTCUT), 'icmp-error-unrelated');
  assert.is(
    n.receive('host', tunnelled(`icmp ${FAR} > ${A} unreachable port (udp ${A}:4000 > ${B}:53 len 8)`)),
    'icmp-error-unrelated',
  );
  n.sent('a');
  assert.is(error(B, 'b', undefined, TO_A), 'forwarded');
  assert.is(n.sent('a').length, 1);
});

test('an ICMP error about packets to another node is accepted only from that node and from the pod they were sent to', () => {
  const n = node();
  const quoted = `udp ${A}:4000 > ${FAR}:53 len 8`;
  n.receive('a', quoted);
  assert.is(n.receive('b', `icmp ${B} > ${A} unreachable port (${quoted})`, TO_A), 'icmp-error-unrelated');
  assert.is(
    n.receive('host', tunnelled(`icmp 10.244.2.9 > ${A} unreachable port (${quoted})`)),
    'icmp-error-unrelated',
  );
  assert.is(n.receive('host', tunnelled(`icmp ${FAR} > ${A} unreachable port (${quoted})`)), 'forwarded');
  assert.is(n.receive('host', tunnelled(`icmp 10.244.2.1 > ${A} time-exceeded (${quoted})`)), 'forwarded');
});

test('an ICMP error about packets to the outside is accepted from any host outside, and from no pod', () => {
  const n = node();
  n.receive('a', `udp ${A}:4000 > 203.0.113.9:53 len 8`);
  const [sent = ''] = n.sent('host');
  const quoted = sent.replace(/ len.*/, ' len 8');
  assert.is(
    n.receive('c', `icmp ${C} > ${A} unreachable port (udp ${A}:4000 > 203.0.113.9:53 len 8)`, TO_A),
    'icmp-error-unrelated',
  );
  assert.is(n.receive('host', `icmp 198.51.100.1 > ${NODE} time-exceeded (${quoted})`), 'forwarded');
});

test.run();
