/**
 * ECN through tunnels: each of the sixteen combinations of RFC 6040 §4.2 (figure 4) at egress, with VXLAN and IPIP, for
 * packets and super-packets; the copy of §4.1 at ingress; and the DSCP, which is never copied.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ipv4HeaderChecksum } from '../../../native-free-dataplane/wire/ipv4.ts';
import { viewOf } from '../../lib/frames/frame-builder.ts';
import { TestNode, type TestNodeOptions } from '../../lib/test-node.ts';

const A = '10.244.1.2';
const FAR = '10.244.2.2';
const NAMES = ['Not-ECT', 'ECT(1)', 'ECT(0)', 'CE'];
const DROP = -1;
/** Result by inner mark (row) and outer mark (column), both 0 to 3 as in the header. */
const COMBINED = [
  [0, 0, 0, DROP],
  [1, 1, 1, 3],
  [2, 1, 2, 3],
  [3, 3, 3, 3],
];

const OVERLAYS: [string, TestNodeOptions, (inner: string) => string, number][] = [
  ['vxlan', {}, (inner) => `vxlan 172.18.0.12:50000 > 172.18.0.11:4789 vni 1 (${inner})`, 50],
  ['ipip', { overlay: 'ipip' }, (inner) => `ipip 172.18.0.12 > 172.18.0.11 (${inner})`, 20],
];

function node(options: TestNodeOptions): TestNode {
  return new TestNode(options).pod('a', A).peer(2);
}

/** Type of service of the packet sent last, `skip` bytes behind its Ethernet header; its header checksum is right. */
function serviceOf(n: TestNode, to: string, skip = 0): number {
  const [sent] = n.sentFrames(to);
  assert.ok(sent);
  const view = viewOf(sent.bytes);
  assert.is(ipv4HeaderChecksum(view, 14 + skip, 20), 0);
  return view.getUint8(14 + skip + 1);
}

for (const [name, options, tunnel, overhead] of OVERLAYS) {
  for (let inner = 0; inner < 4; inner++) {
    for (let outer = 0; outer < 4; outer++) {
      const expected = COMBINED[inner]![outer]!;
      const result = expected === DROP ? 'dropped' : NAMES[expected];
      test(`${name}: ${NAMES[inner]} inside, ${NAMES[outer]} outside: ${result}`, () => {
        const n = node(options);
        n.countersMoved();
        const verdict = n.receive('host', tunnel(`udp ${FAR}:1 > ${A}:2 len 4`), {
          service: 0xb8 | inner,
          outer: { service: 0x48 | outer },
        });
        if (expected === DROP) {
          assert.is(verdict, 'ecn-not-capable');
          assert.equal(n.countersMoved(), { 'ecn-not-capable': 1 });
          assert.equal([n.sent('a'), n.flows], [[], 0]);
          return;
        }
        assert.is(verdict, 'forwarded');
        assert.is(serviceOf(n, 'a'), 0xb8 | expected);
      });
    }
  }

  test(`${name}: the outer header has the inner mark and DSCP 0`, () => {
    const n = node(options);
    for (let mark = 0; mark < 4; mark++) {
      assert.is(n.receive('a', `udp ${A}:1 > ${FAR}:2 len 4`, { service: 0xb8 | mark }), 'encapsulated');
      const [sent] = n.out;
      assert.is(viewOf(sent!.bytes).getUint8(14 + overhead + 1), 0xb8 | mark, 'inside');
      assert.is(serviceOf(n, 'host'), mark, 'outside');
    }
  });

  test(`${name}: the same of super-packets, whole or in segments`, () => {
    const n = node(options);
    const text = `tcp ${A}:1 > ${FAR}:2 A len 4000`;
    assert.is(n.receive('a', text, { service: 3, partial: true, gsoSize: 1000 }), 'encapsulated');
    for (const sent of n.out) {
      assert.is(viewOf(sent.bytes).getUint8(14 + 1), 3);
      assert.is(ipv4HeaderChecksum(viewOf(sent.bytes), 14, 20), 0);
    }
  });
}

test('vxlan: a frame marked by a router reaches the pod marked', () => {
  const n = node({});
  const hex =
    '0a580af40101020000000009080045030052000040004011e25cac12000cac12000bc35012b5003e000008000000000001000a580af40101' +
    '0a580af4020208004502002000004000401121e00af402020af4010200010002000cd6c901080f16';
  assert.is(n.receiveBytes('host', Uint8Array.from(Buffer.from(hex, 'hex'))), 'forwarded');
  assert.is(serviceOf(n, 'a'), 3);
});

test.run();
