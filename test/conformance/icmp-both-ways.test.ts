/**
 * Two hosts that query each other, with identifiers that equal the query's type, so that query and reply could be
 * confused (linux nf_conntrack_proto_icmp.c; GHSA-c66w-hq56-4q97).
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { conntrackFaults } from '../lib/conntrack-check.ts';
import { A, B, entries, isPacket, NODE, natNode, OTHER, onlySent, tableWords } from '../lib/nat-node.ts';
import type { TestNode } from '../lib/test-node.ts';

const QUERIES = [
  ['echo-request', 'echo-reply', 8],
  ['timestamp-request', 'timestamp-reply', 13],
  ['mask-request', 'mask-reply', 17],
] as const;

/** Both pods have sent each other a query; `rest` follows the type. */
function bothAsk(n: TestNode, request: string, rest: string): void {
  assert.is(n.receive('a', `icmp ${A} > ${B} ${request} ${rest}`), 'forwarded');
  assert.is(n.receive('b', `icmp ${B} > ${A} ${request} ${rest}`), 'forwarded');
  assert.is(entries(n).length, 2);
  n.sent('a');
  n.sent('b');
}

for (const [request, reply, type] of QUERIES) {
  test(`GHSA-c66w-hq56-4q97, ${request}: a flow for an outgoing query does not admit an incoming query, whatever the identifier`, () => {
    const n = natNode();
    // The tuples differ only in their kinds.
    n.receive('a', `icmp ${A} > ${OTHER} ${request} id ${type} seq 1`);
    n.sent('host');
    const before = tableWords(n);
    for (const identifier of [0, type, type << 8, 0xffff]) {
      const verdict = n.receive('host', `icmp ${OTHER} > ${NODE} ${request} id ${identifier} seq 1`);
      assert.is(verdict, 'to-host', `${request} ${identifier}`);
    }
    assert.is(n.receive('a', `icmp ${A} > ${OTHER} ${reply} id ${type} seq 1`), 'conntrack-invalid');
    assert.equal(n.sent('a'), []);
    assert.equal(tableWords(n), before);
    assert.is(n.receive('host', `icmp ${OTHER} > ${NODE} ${reply} id ${type} seq 1`), 'forwarded');
  });

  test(`${request}: two hosts that query each other with the same identifier have two connections, whatever the identifier`, () => {
    for (const identifier of [type, 1]) {
      const n = natNode();
      const rest = `id ${identifier} seq 1`;
      bothAsk(n, request, rest);
      assert.is(n.receive('b', `icmp ${B} > ${A} ${reply} ${rest}`), 'forwarded');
      assert.is(n.receive('a', `icmp ${A} > ${B} ${reply} ${rest}`), 'forwarded');
      assert.is(entries(n).length, 2);
      assert.equal(conntrackFaults(n.conntrack), []);
    }
  });
}

test('later fragments follow the query or reply they belong to', () => {
  const n = natNode();
  const fragments = (port: string, from: string, to: string, type: string): void => {
    for (const text of [
      `icmp ${from} > ${to} ${type} id 8 seq 1 len 1000 frag id 7 offset 0 more`,
      // Data that looks like a header: only the first fragment has one.
      `icmp ${from} > ${to} timestamp-reply id 8 seq 1 len 400 frag id 7 offset 1008`,
    ]) {
      assert.is(n.receive(port, text), 'forwarded', text);
    }
  };
  fragments('a', A, B, 'echo-request');
  fragments('b', B, A, 'echo-request');
  fragments('b', B, A, 'echo-reply');
  fragments('a', A, B, 'echo-reply');
  assert.is(entries(n).length, 2);
});

test('an error about either query reaches its sender', () => {
  const n = natNode();
  bothAsk(n, 'echo-request', 'id 8 seq 1 len 40');
  for (const [asking, asked, from, to] of [
    ['a', 'b', A, B],
    ['b', 'a', B, A],
  ] as const) {
    const error = `icmp ${to} > ${from} unreachable host (icmp ${from} > ${to} echo-request id 8 seq 1 len 40)`;
    assert.is(n.receive(asked, error), 'forwarded');
    isPacket(onlySent(n, asking), error, { ttl: 63 });
  }
});

test.run();
