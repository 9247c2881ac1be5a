/**
 * Bugs found by the fuzzer: wrong offload headers, segments of a switched packet, ICMP errors sent to the wrong host.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { HopWord } from '../../../native-free-dataplane/node/config.ts';
import { hopAt } from '../../../native-free-dataplane/node/hops.ts';
import { findRoute } from '../../../native-free-dataplane/node/routes.ts';
import { processFrame } from '../../../native-free-dataplane/pipeline.ts';
import { verdictName } from '../../../native-free-dataplane/verdicts.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import { residueOf } from '../../lib/frames/frame-residue.ts';
import { frame } from '../../lib/frames/frame-text.ts';
import { loadFrame } from '../../lib/frames/load-frame.ts';
import { TestNode } from '../../lib/test-node.ts';

const A = '10.244.1.2';
const B = '10.244.1.3';
const MAC_A = '0a:58:0a:f4:01:02';
const MAC_B = '0a:58:0a:f4:01:03';

function node(): TestNode {
  return new TestNode({ features: { tunnelOffload: false, udpSegmentation: false } }).pod('a', A).pod('b', B).peer(2);
}

/** A frame from pod a whose offload header places the pending checksum at `offset` of the transport header. */
function receivePending(n: TestNode, text: string, offset: number, gsoType = 0): string {
  loadFrame(n.pkt, frame(text, { partial: true }), n.portOf('a'), { partial: true });
  n.pkt.checksumOffset = offset;
  if (gsoType !== 0) {
    n.pkt.gsoType = gsoType;
    n.pkt.gsoSize = 100;
  }
  return verdictName(processFrame(n.pkt, n.dataplane, n.nowMs));
}

test("a frame is dropped unless its pending checksum is in the protocol's checksum field", () => {
  assert.is(receivePending(node(), `tcp ${A}:4000 > ${B}:80 S`, 16), 'forwarded');
  assert.is(receivePending(node(), `udp ${A}:4000 > ${B}:53 len 300`, 6), 'forwarded');
  // At 2 the kernel would overwrite the port that the policy checked.
  assert.is(receivePending(node(), `tcp ${A}:4000 > ${B}:80 S`, 2), 'offload-invalid');
  assert.is(receivePending(node(), `udp ${A}:4000 > ${B}:53 len 300`, 16), 'offload-invalid');
  assert.is(receivePending(node(), `icmp ${A} > ${B} echo-request id 1 seq 1 len 56`, 2), 'offload-invalid');
  assert.is(receivePending(node(), `udp ${A}:4000 > ${B}:53 len 64 frag id 1 offset 0 more`, 6), 'offload-invalid');
});

test('a checksum pending inside a tunnel between pods is finished', () => {
  const n = node();
  const inside = { srcMac: '02:00:00:00:00:01', dstMac: '02:00:00:00:00:02' };
  const text = `vxlan ${A}:50000 > ${B}:5000 vni 42 (tcp 192.168.77.1:4000 > 192.168.77.2:80 S)`;
  const outer = { srcMac: MAC_A, dstMac: '0a:58:0a:f4:01:01' };
  loadFrame(n.pkt, frame(text, { ...inside, partial: true, outer }), n.portOf('a'));
  n.pkt.needsChecksum = 1;
  n.pkt.checksumStart = n.pkt.start + 14 + 20 + 8 + 8 + 14 + 20;
  n.pkt.checksumOffset = 16;
  assert.is(verdictName(processFrame(n.pkt, n.dataplane, n.nowMs)), 'forwarded');
  const [sent] = n.sentFrames('b');
  assert.is(sent?.needsChecksum, 0);
  const view = new DataView(sent!.bytes.buffer);
  assert.equal(residueOf(view, 14 + 20 + 8 + 8 + 14, false), { kind: 'full', value: 0 });
});

test('a super-packet must have the protocol of its packet', () => {
  assert.is(receivePending(node(), `tcp ${A}:4000 > ${B}:80 A len 300`, 16, 1), 'forwarded');
  assert.is(receivePending(node(), `tcp ${A}:4000 > ${B}:80 A len 300`, 16, 4), 'offload-invalid');
  assert.is(receivePending(node(), `tcp ${A}:4000 > ${B}:80 A len 300`, 16, 5), 'offload-invalid');
  assert.is(receivePending(node(), `udp ${A}:4000 > ${B}:53 len 300`, 6, 1), 'offload-invalid');
});

test('every segment of a packet between two pods of one L2 segment has the Ethernet source of its sender', () => {
  const n = node();
  const cut = n.receive('a', `udp ${A}:4000 > ${B}:53 len 3000`, { dstMac: MAC_B, partial: true, gsoSize: 1000 });
  assert.is(cut, 'forwarded');
  const fragmented = n.receive('a', `udp ${A}:4000 > ${B}:53 len 3000`, { dstMac: MAC_B, df: false });
  assert.is(fragmented, 'forwarded');
  const sources = n
    .sentFrames('b')
    .map(({ bytes }) => [...bytes.subarray(6, 12)].map((byte) => byte.toString(16).padStart(2, '0')).join(':'));
  assert.equal(sources, new Array(6).fill(MAC_A));
});

test('an ICMP error is accepted only if it is sent to the sender of the quoted packet', () => {
  const n = node();
  n.receive('a', `udp ${A}:4000 > ${B}:53 len 8`);
  const quoted = `(udp ${A}:4000 > ${B}:53 len 8)`;
  // To the gateway, and to another pod's address: neither sent the quoted packet.
  assert.is(n.receive('b', `icmp ${B} > 10.244.1.1 unreachable port ${quoted}`), 'icmp-error-unrelated');
  assert.is(n.receive('b', `icmp ${B} > 10.244.2.7 unreachable port ${quoted}`), 'icmp-error-unrelated');
  assert.is(n.receive('b', `icmp ${B} > ${A} unreachable port ${quoted}`), 'forwarded');
});

test('a super-packet without payload is dropped before it changes any table', () => {
  const n = node();
  loadFrame(n.pkt, frame('udp 172.18.0.1:9 > 172.18.0.11:9 len 0', { dstMac: '0a:58:0a:f4:01:01', partial: true }), 0, {
    gsoSize: 100,
  });
  assert.is(verdictName(processFrame(n.pkt, n.dataplane, n.nowMs)), 'offload-invalid');
  assert.equal([n.sent('host'), n.flows], [[], 0]);
});

for (const features of [
  { tunnelOffload: true, udpSegmentation: true },
  { tunnelOffload: false, udpSegmentation: false },
]) {
  const whole = features.tunnelOffload ? 'by the kernel' : 'here';
  const remote = '10.244.2.2';

  test(`cut ${whole}: one frame becomes at most 128 datagrams or 512 segments, or is refused`, () => {
    for (const to of [B, remote, '203.0.113.9']) {
      const receive = (text: string, gsoSize: number): [string, number] => {
        const n = new TestNode({ features }).pod('a', A).pod('b', B).peer(2);
        const verdict = n.receive('a', text, { partial: true, gsoSize });
        return [verdict, n.out.length];
      };
      const udp = (bytes: number, size: number) => receive(`udp ${A}:4000 > ${to}:53 len ${bytes}`, size);
      const tcp = (bytes: number, size: number) => receive(`tcp ${A}:4000 > ${to}:80 A len ${bytes}`, size);
      assert.equal(udp(60_000, 1), ['offload-invalid', 0], to);
      assert.equal(udp(128 * 400 + 1, 400), ['offload-invalid', 0], to);
      assert.ok(udp(128 * 400, 400)[1] >= 1, to);
      assert.equal(tcp(60_000, 1), ['offload-invalid', 0], to);
      assert.equal(tcp(512 * 100 + 1, 100), ['offload-invalid', 0], to);
      const most = tcp(512 * 100, 100)[1];
      assert.ok(most >= 1 && most <= 512, to);
    }
  });

  test(`cut ${whole}: a super-packet without DF is sent in smaller pieces if the path MTU has decreased`, () => {
    const n = new TestNode({ features }).pod('a', A).pod('b', B).peer(2);
    n.node.hops[hopAt(findRoute(n.node, addressWords(remote), 0)) + HopWord.MTU] = 552;
    assert.is(
      n.receive('a', `tcp ${A}:4000 > ${remote}:80 A len 5000`, { partial: true, gsoSize: 1410, df: false }),
      'encapsulated',
    );
    const segments = n.sentFrames('host');
    assert.is(features.tunnelOffload ? segments[0]?.gsoSize : segments.length, features.tunnelOffload ? 512 : 10);
    assert.is(
      n.receive('a', `udp ${A}:4000 > ${remote}:53 len 2800`, { partial: true, gsoSize: 1400, df: false }),
      'encapsulated',
    );
    const fragments = n.sentFrames('host');
    assert.is(fragments.length, 6);
    for (const { bytes } of fragments) assert.ok(bytes.length <= 14 + 50 + 552);
    // With DF its sender gets the ICMP error, as before.
    assert.is(
      n.receive('a', `tcp ${A}:4000 > ${remote}:80 A len 5000`, { partial: true, gsoSize: 1410 }),
      'fragmentation-needed',
    );
  });
}

test.run();
