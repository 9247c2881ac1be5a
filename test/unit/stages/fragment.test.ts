/** Fragments through the pipeline: the path of later ones, and what happens to invalid ones. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fragments } from '../../lib/frames/frame-builder.ts';
import { frame } from '../../lib/frames/frame-text.ts';
import { TestNode } from '../../lib/test-node.ts';

const A = '10.244.1.2';
const B = '10.244.1.3';
const MACS = { dstMac: '0a:58:0a:f4:01:03', srcMac: '0a:58:0a:f4:01:02' };

function node(): TestNode {
  return new TestNode().pod('a', A).pod('b', B).peer(2);
}

test('later fragments take the path of the first, those that arrive before it are held, a duplicate is dropped alone', () => {
  const n = node();
  const whole = frame(`udp ${A}:4000 > ${B}:53 len 3000`, { id: 9, ...MACS });
  const [first, second, third] = fragments(whole, 1450) as [Uint8Array, Uint8Array, Uint8Array];
  assert.is(n.receiveBytes('a', second), 'fragment-held');
  assert.is(n.receiveBytes('a', second), 'fragment-duplicate');
  assert.is(n.receiveBytes('a', first), 'forwarded');
  assert.is(n.receiveBytes('a', third), 'forwarded');
  assert.is(n.sent('b').length, 3);
});

test('each fragment ends in one verdict: a held one when it is released or times out', () => {
  const n = new TestNode().pod('a', '10.244.1.2').pod('b', '10.244.1.3');
  const to = { dstMac: '0a:58:0a:f4:01:03' };
  const flow = 'udp 10.244.1.2:1 > 10.244.1.3:2';
  const later = 'udp 10.244.1.2 > 10.244.1.3 len 16 frag id 7 offset 24';
  n.countersMoved();
  assert.is(n.receive('a', later, to), 'fragment-held');
  assert.equal(n.countersMoved(), {});
  assert.is(n.receive('a', `${flow} len 16 frag id 7 offset 0 more`, to), 'forwarded');
  assert.equal(n.countersMoved(), { forwarded: 2 });
  n.receive('a', later.replace('id 7', 'id 8'), to);
  n.receive('a', 'udp 10.244.1.2 > 10.244.1.3 len 8 frag id 8 offset 16 more', to);
  n.advance(29_000);
  assert.equal(n.countersMoved(), {});
  n.advance(2_000);
  assert.equal(n.countersMoved(), { 'fragment-first-missing': 2 });
});

for (const overlay of ['vxlan', 'ipip', 'host-gw'] as const) {
  for (const dstMac of ['0a:58:0a:f4:01:01', '02:00:00:00:00:77']) {
    const way = dstMac.startsWith('02') ? 'off the wire' : 'by the kernel';
    test(`${overlay}, ${way}: fragments from another node arrive alike in any order`, () => {
      const first = 'udp 10.244.2.2:1 > 10.244.1.2:2 len 16 frag id 7 offset 0 more';
      const second = 'udp 10.244.2.2 > 10.244.1.2 len 16 frag id 7 offset 24 more';
      const third = 'udp 10.244.2.2 > 10.244.1.2 len 8 frag id 7 offset 40';
      const around = (inner: string) =>
        overlay === 'vxlan'
          ? `vxlan 172.18.0.12:50000 > 172.18.0.11:4789 vni 1 (${inner})`
          : overlay === 'ipip'
            ? `ipip 172.18.0.12 > 172.18.0.11 (${inner})`
            : inner;
      const arrived = (order: string[]): string[] => {
        const n = new TestNode({ overlay }).pod('a', '10.244.1.2').peer(2);
        for (const text of order) {
          n.receive('host', around(text), overlay === 'host-gw' ? { dstMac } : { outer: { dstMac } });
        }
        return n
          .sentFrames('a')
          .map(({ bytes }) => Buffer.from(bytes).toString('hex'))
          .sort();
      };
      const inOrder = arrived([first, second, third]);
      assert.is(inOrder.length, 3);
      assert.equal(arrived([third, second, first]), inOrder);
      assert.equal(arrived([second, first, third]), inOrder);
    });
  }
}

test.run();
