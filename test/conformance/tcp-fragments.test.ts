/**
 * Fragmented TCP segments: the tracker counts all fragments as sent, like netfilter, which sees them reassembled (RFC
 * 791 §3.2; linux nf_defrag_ipv4). Otherwise acknowledging the whole segment would acknowledge data never sent, and the
 * connection would hang.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fragments } from '../lib/frames/frame-builder.ts';
import { frame } from '../lib/frames/frame-text.ts';
import { A, B, natNode } from '../lib/nat-node.ts';
import type { TestNode } from '../lib/test-node.ts';

const TO_SERVICE = `${A}:40000 > 10.96.0.10:80`;
const TO_CLIENT = `${B}:8080 > ${A}:40000`;

/** A connection from pod a through the service, both ends at sequence number `first` and 9001. */
function connected(first: number): TestNode {
  const n = natNode().service('tcp 10.96.0.10:80', { endpoints: [`${B}:8080`] });
  n.receive('a', `tcp ${TO_SERVICE} S seq ${(first - 1) >>> 0}`);
  n.receive('b', `tcp ${TO_CLIENT} SA seq 9000 ack ${first}`);
  assert.is(n.receive('a', `tcp ${TO_SERVICE} A seq ${first} ack 9001`), 'forwarded');
  return n;
}

/** The segment arrives from pod a in fragments of at most 400 bytes, put in order by `arrange`. */
function arriveInFragments(n: TestNode, text: string, arrange: (pieces: Uint8Array[]) => Uint8Array[]): void {
  for (const piece of arrange(fragments(frame(text, { id: 7, df: false }), 400))) n.receiveBytes('a', piece);
}

for (const [order, arrange] of [
  ['in order', (pieces: Uint8Array[]) => pieces],
  ['first fragment last', (pieces: Uint8Array[]) => [...pieces].reverse()],
] as const) {
  for (const first of [1, 0xffff_ff00]) {
    test(`data sent in fragments may be acknowledged: ${order}, from ${first}`, () => {
      const n = connected(first);
      arriveInFragments(n, `tcp ${TO_SERVICE} PA seq ${first} ack 9001 len 1300`, arrange);
      assert.is(n.receive('b', `tcp ${TO_CLIENT} A seq 9001 ack ${(first + 1300) >>> 0}`), 'forwarded');
      assert.is(n.receive('b', `tcp ${TO_CLIENT} A seq 9001 ack ${(first + 1301) >>> 0}`), 'conntrack-invalid');
    });

    test(`a FIN at the end of a fragmented segment counts: ${order}, from ${first}`, () => {
      const n = connected(first);
      arriveInFragments(n, `tcp ${TO_SERVICE} FA seq ${first} ack 9001 len 1300`, arrange);
      assert.is(n.receive('b', `tcp ${TO_CLIENT} FA seq 9001 ack ${(first + 1301) >>> 0}`), 'forwarded');
      assert.is(n.receive('a', `tcp ${TO_SERVICE} A seq ${(first + 1301) >>> 0} ack 9002`), 'forwarded');
    });
  }
}

test('an old segment retransmitted in fragments does not move the window back', () => {
  const n = connected(1);
  n.receive('a', `tcp ${TO_SERVICE} PA seq 1 ack 9001 len 1300`);
  n.receive('a', `tcp ${TO_SERVICE} PA seq 1301 ack 9001 len 1300`);
  arriveInFragments(n, `tcp ${TO_SERVICE} PA seq 1 ack 9001 len 1300`, (pieces) => pieces);
  assert.is(n.receive('b', `tcp ${TO_CLIENT} A seq 9001 ack 2601`), 'forwarded');
});

test('fragments of an invalid segment do not update the window', () => {
  const n = connected(1);
  arriveInFragments(n, `tcp ${TO_SERVICE} PA seq 900001 ack 9001 len 1300`, (pieces) => pieces);
  assert.is(n.receive('b', `tcp ${TO_CLIENT} A seq 9001 ack 901301`), 'conntrack-invalid');
  assert.is(n.receive('b', `tcp ${TO_CLIENT} A seq 9001 ack 1`), 'forwarded');
});

test.run();
