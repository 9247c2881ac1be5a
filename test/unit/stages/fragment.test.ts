/** Fragments through the pipeline: where later ones go, and what happens to invalid ones. */
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

test('fragments: later ones follow the first, those that arrive before it wait, a duplicate is dropped alone', () => {
  const n = node();
  const whole = frame(`udp ${A}:4000 > ${B}:53 len 3000`, { id: 9, ...MACS });
  const [first, second, third] = fragments(whole, 1450) as [Uint8Array, Uint8Array, Uint8Array];
  assert.is(n.receiveBytes('a', second), 'fragment-held');
  assert.is(n.receiveBytes('a', second), 'fragment-duplicate');
  assert.is(n.receiveBytes('a', first), 'forwarded');
  assert.is(n.receiveBytes('a', third), 'forwarded');
  assert.is(n.sent('b').length, 3);
});

test.run();
