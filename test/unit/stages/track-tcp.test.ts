/** Effect of the tracker's results in the pipeline: the record's timeout, and whether the packet is forwarded. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TestNode } from '../../lib/test-node.ts';

const A = '10.244.1.2';
const B = '10.244.1.3';
const TO_B = { dstMac: '0a:58:0a:f4:01:03' };
const TO_A = { dstMac: '0a:58:0a:f4:01:02' };

function node(): TestNode {
  return new TestNode().pod('a', A).pod('b', B).peer(2);
}

test('kubernetes #74839: a segment from outside the window is dropped, the connection continues', () => {
  const n = node();
  n.receive('a', `tcp ${A}:4000 > ${B}:80 S seq 0`, TO_B);
  n.receive('b', `tcp ${B}:80 > ${A}:4000 SA seq 0 ack 1`, TO_A);
  n.receive('a', `tcp ${A}:4000 > ${B}:80 A seq 1 ack 1`, TO_B);
  n.sent('a');
  assert.is(n.receive('b', `tcp ${B}:80 > ${A}:4000 A seq 100000000 ack 1`, TO_A), 'conntrack-invalid');
  assert.equal(n.sent('a'), []);
  assert.is(n.receive('b', `tcp ${B}:80 > ${A}:4000 PA seq 1 ack 1 len 10`, TO_A), 'forwarded');
});

test('a refused connection: the reset passes, the record is removed', () => {
  const n = node();
  n.receive('a', `tcp ${A}:4000 > ${B}:81 S seq 0`, TO_B);
  assert.is(n.receive('b', `tcp ${B}:81 > ${A}:4000 RA seq 0 ack 1`, TO_A), 'forwarded');
  assert.equal(n.sent('a').length, 1);
  // A second reset no longer matches a connection.
  assert.is(n.receive('b', `tcp ${B}:81 > ${A}:4000 RA seq 0 ack 1`, TO_A), 'conntrack-invalid');
});

test.run();
