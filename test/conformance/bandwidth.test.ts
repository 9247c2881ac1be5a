/** Limits of pods' traffic: the rate that passes, the burst, both directions, and that others do not notice. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { setBandwidth, Toward } from '../../native-free-dataplane/node/bandwidth.ts';
import { podBandwidth } from '../../src/compile/bandwidth.ts';
import { A, B, natNode, SERVER } from '../lib/nat-node.ts';
import { policyPod, setPolicies } from '../lib/policies/policy-node.ts';
import type { TestNode } from '../lib/test-node.ts';

const MAC_B = '0a:58:0a:f4:01:03';
/** Bytes of an IPv4 packet with a UDP payload of 1000 bytes. */
const PACKET = 1028;

/** Offers one such datagram from pod a to b every millisecond. @returns bytes a second that passed */
function offered(n: TestNode, seconds: number): number {
  let passed = 0;
  for (let ms = 0; ms < seconds * 1000; ms++) {
    n.nowMs++;
    for (let i = 0; i < 4; i++) {
      if (n.receive('a', `udp ${A}:5000 > ${B}:53 len 1000`, { dstMac: MAC_B }) === 'forwarded') passed += PACKET;
    }
    n.out.length = 0;
  }
  return passed / seconds;
}

for (const toward of ['NETWORK', 'POD'] as const) {
  test(`a limit of 8 Mbit/s ${toward === 'POD' ? 'to the receiver' : 'from the sender'}: that rate passes, the rest is dropped`, () => {
    const n = natNode();
    setBandwidth(n.node, n.portOf(toward === 'POD' ? 'b' : 'a'), Toward[toward], 1000);
    offered(n, 1); // the burst
    n.countersMoved();
    const rate = offered(n, 4);
    assert.ok(Math.abs(rate - 1e6) < 0.01 * 1e6, `${rate} bytes a second`);
    const moved = n.countersMoved();
    assert.is(moved.forwarded! + moved['bandwidth-exceeded']!, 16_000);
  });
}

test('a burst of four super-packets passes at any rate', () => {
  const n = natNode();
  setBandwidth(n.node, n.portOf('a'), Toward.NETWORK, 1);
  let passed = 0;
  while (n.receive('a', `udp ${A}:5000 > ${B}:53 len 1000`, { dstMac: MAC_B }) === 'forwarded') passed += PACKET;
  assert.ok(passed >= 262_144 && passed < 262_144 + 2 * PACKET, `${passed} bytes`);
});

test("a pod's limit does not touch others, and none of its packets that are dropped changes a connection", () => {
  const n = natNode();
  setBandwidth(n.node, n.portOf('a'), Toward.NETWORK, 1);
  while (n.receive('a', `udp ${A}:5000 > ${B}:53 len 1000`, { dstMac: MAC_B }) === 'forwarded');
  const { flows } = n;
  assert.is(n.receive('a', `udp ${A}:5001 > ${SERVER}:53 len 1000`), 'bandwidth-exceeded');
  assert.is(n.flows, flows, 'no connection was made');
  assert.is(n.receive('b', `udp ${B}:53 > ${A}:5000 len 1000`), 'forwarded');
  assert.is(n.receive('b', `udp ${B}:5001 > ${SERVER}:53 len 1000`), 'to-host');
});

test('packets that are dropped for another reason use up nothing of a limit', () => {
  const n = natNode();
  setBandwidth(n.node, n.portOf('b'), Toward.POD, 1);
  setBandwidth(n.node, n.portOf('a'), Toward.NETWORK, 1);
  n.receive('a', `tcp ${A}:4000 > ${B}:80 S seq 1`);
  n.receive('b', `tcp ${B}:80 > ${A}:4000 SA seq 5 ack 2`);
  n.receive('a', `tcp ${A}:4000 > ${B}:80 A seq 2 ack 6`);
  setPolicies(
    n,
    [policyPod(A), policyPod(B)],
    [{ podSelector: {}, policyTypes: ['Ingress'], ingress: [{ ports: [{ port: 80 }] }] }],
  );
  for (let i = 0; i < 400; i++) {
    assert.is(n.receive('a', `udp ${A}:${5000 + i} > ${B}:53 len 1000`), 'policy-ingress');
  }
  setPolicies(n, [], []);
  for (let i = 0; i < 400; i++) {
    assert.is(n.receive('a', `tcp ${A}:4000 > ${B}:80 PA seq ${0x7000_0000} ack 6 len 1000`), 'conntrack-invalid');
  }
  assert.is(n.receive('a', `udp ${A}:5000 > ${B}:53 len 1000`), 'forwarded');
});

test('a limit that is taken away, and a port that gets another pod, have none', () => {
  const n = natNode();
  const port = n.portOf('a');
  n.sync.setPod(port, { key: 'a', ip: A, declared: [], bandwidth: { ingress: 0, egress: 8000 } });
  while (n.receive('a', `udp ${A}:5000 > ${B}:53 len 1000`, { dstMac: MAC_B }) === 'forwarded');
  n.sync.setPod(port, { key: 'a', ip: A, declared: [] });
  assert.is(n.receive('a', `udp ${A}:5000 > ${B}:53 len 1000`, { dstMac: MAC_B }), 'forwarded');
  n.sync.setPod(port, { key: 'a', ip: A, declared: [], bandwidth: { ingress: 8000, egress: 8000 } });
  n.sync.removePod('a');
  n.pod('c', A);
  assert.is(n.portOf('c'), port);
  for (let i = 0; i < 300; i++) {
    assert.is(n.receive('c', `udp ${A}:5000 > ${B}:53 len 1000`, { dstMac: MAC_B }), 'forwarded');
  }
});

test('annotations: quantities of bits a second from 1k to 1P; others are named and ignored', () => {
  const read = (ingress: string, egress: string) =>
    podBandwidth({
      metadata: {
        name: 'p',
        annotations: { 'kubernetes.io/ingress-bandwidth': ingress, 'kubernetes.io/egress-bandwidth': egress },
      },
    } as never);
  assert.equal(read('10M', '1500k'), { ingress: 1e7, egress: 1.5e6, problems: [] });
  assert.equal(read('1Mi', '1k'), { ingress: 1048576, egress: 1000, problems: [] });
  for (const text of ['', 'fast', '-1M', '999', '2P']) {
    const { ingress, egress, problems } = read(text, '1M');
    assert.equal([ingress, egress], [0, 1e6]);
    assert.equal(problems, [
      `annotation kubernetes.io/ingress-bandwidth: "${text}" is ignored: expected bits a second from 1k to 1P, such as 10M`,
    ]);
  }
  assert.equal(podBandwidth(undefined), { ingress: 0, egress: 0, problems: [] });
});

test.run();
