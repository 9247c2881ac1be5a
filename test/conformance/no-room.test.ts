/**
 * What is refused for want of room, and what another worker or the agent changed under a packet: the packet is counted,
 * nothing half entered stays behind, and the next packet fares as if nothing had happened. Also Maglev's choice as the
 * pipeline makes it, and fragments that are refused.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Rec, recordAt, StateWord, Status } from '../../native-free-dataplane/conntrack/record.ts';
import { recoverConntrack } from '../../native-free-dataplane/conntrack/recovery.ts';
import { entryCount } from '../../native-free-dataplane/conntrack/shares.ts';
import { hashTuple, reenterRecord } from '../../native-free-dataplane/conntrack/tuple-index.ts';
import { clearHop } from '../../native-free-dataplane/node/hops.ts';
import { PROTOCOL_ICMP, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP } from '../../native-free-dataplane/protocols.ts';
import { transmit } from '../../native-free-dataplane/transmit.ts';
import { Verdict } from '../../native-free-dataplane/verdicts.ts';
import { addressWords } from '../../native-free-dataplane/wire/address.ts';
import { conntrackFaults } from '../lib/conntrack-check.ts';
import { addFlow, conntrackTable, findFlow } from '../lib/conntrack-table.ts';
import { concat, ipPacket } from '../lib/frames/frame-builder.ts';
import {
  A,
  B,
  ETHERNET,
  flushedConnection,
  GATEWAY,
  NODE,
  natNode,
  onlySent,
  portsOf,
  SERVER,
} from '../lib/nat-node.ts';
import type { TestNode } from '../lib/test-node.ts';

const BUCKET_WORDS = 8;
/** An index word that refers to record 0 with a tag that no tuple of these tests has. */
const FOREIGN = 1;
const VIP = '10.96.0.10';

/** Run `act` with every word of the index taken, but `free`. */
function withFullIndex(n: TestNode, act: () => void, free = -1): void {
  const { index } = n.conntrack;
  const taken = [...index.keys()].filter((at) => index[at] === 0 && at !== free);
  for (const at of taken) index[at] = FOREIGN;
  act();
  for (const at of taken) {
    assert.is(index[at], FOREIGN, 'an entry of others was changed');
    index[at] = 0;
  }
}

test('both buckets of a connection are full: it is refused, its record is free again, the next one is made', () => {
  const n = natNode();
  n.receive('a', `udp ${A}:1 > ${B}:2 len 8`);
  n.countersMoved();
  withFullIndex(n, () => {
    assert.is(n.receive('a', `udp ${A}:4000 > ${B}:53 len 8`), 'conntrack-full');
    assert.is(n.receive('a', `tcp ${A}:4000 > ${SERVER}:80 S`), 'conntrack-full');
  });
  assert.equal(n.countersMoved(), { 'conntrack-full': 2 });
  assert.is(n.flows, 1);
  assert.equal(conntrackFaults(n.conntrack), []);
  assert.is(n.receive('a', `udp ${A}:4000 > ${B}:53 len 8`), 'forwarded');
  assert.is(n.flows, 2);
});

test('there is room for one direction of a connection only: neither stays in the index', () => {
  const n = natNode();
  n.receive('a', `udp ${A}:4000 > ${B}:53 len 8`);
  const { conntrack } = n;
  const original = recordAt(conntrack, 0) + Rec.TUPLES;
  const bucket = (hashTuple(conntrack, conntrack.words, original, 17) & conntrack.bucketMask) * BUCKET_WORDS;
  // The same connection once more, on a table that has forgotten it.
  const again = natNode();
  withFullIndex(
    again,
    () => {
      assert.is(again.receive('a', `udp ${A}:4000 > ${B}:53 len 8`), 'conntrack-full');
      assert.is(again.conntrack.index[bucket], 0, 'the first direction was left behind');
    },
    bucket,
  );
  assert.is(again.flows, 0);
  assert.equal(conntrackFaults(again.conntrack), []);
});

test('a flushed connection finds no room to be resumed: dropped, and resumed with its translation once there is room', () => {
  const n = natNode();
  const { port, segment } = flushedConnection(n);
  withFullIndex(n, () => assert.is(n.receive('a', segment), 'conntrack-full'));
  assert.is(n.out.length, 0);
  n.advance(100);
  assert.is(n.receive('a', segment), 'to-host');
  assert.is(portsOf(onlySent(n, 'host'))[0], port);
  assert.is(n.flows, 1);
  assert.equal(conntrackFaults(n.conntrack), []);
});

test('recovery meets more records of one tuple than a table can hold: those that do not fit are freed, the rest is found', () => {
  const table = conntrackTable(64);
  const first = addFlow(table, 1, 1, 0, 400_000);
  const other = addFlow(table, 2, 1, 0, 400_000);
  const { words, recordWords } = table;
  // As a damaged table may have it.
  for (let record = 2; record < 60; record++) {
    words.copyWithin(recordAt(table, record), recordAt(table, first), recordAt(table, first) + recordWords);
  }
  table.state[StateWord.WATERMARK] = 60;
  const live = recoverConntrack(table, 1000, 1);
  assert.ok(live < 60 && live > 1, `${live} live`);
  assert.is(entryCount(table), live);
  assert.is(table.state[StateWord.FREE_COUNT], 60 - live);
  assert.is(
    table.index.reduce((sum, word) => sum + (word === 0 ? 0 : 1), 0),
    2 * live,
  );
  assert.is(findFlow(table, 2, 1), other << 1);
  assert.ok(findFlow(table, 1, 1) >= 0);
});

test('a record that finds room for one tuple only at recovery is not entered at all', () => {
  const table = conntrackTable(64);
  const record = addFlow(table, 1, 1, 0, 400_000);
  const mine = [...table.index.keys()].filter(
    (at) => table.index[at] === ((table.index[at]! & ~0xfff) | (record * 2 + 1)),
  );
  table.index.fill(FOREIGN);
  assert.not.ok(reenterRecord(table, record));
  for (const at of mine) table.index[at] = 0;
  assert.not.ok(reenterRecord(table, record));
  for (const at of mine) assert.is(table.index[at], 0);
  assert.is(table.words[recordAt(table, record) + Rec.META]! & Status.DEAD, 0);
});

test('the port of a pod goes under a packet that is on its way to it: counted as such, and nothing is sent', () => {
  const n = natNode();
  n.receive('a', `udp ${A}:4000 > ${B}:53 len 8`);
  n.sent('b');
  clearHop(n.node, n.portOf('b'));
  assert.is(transmit(n.pkt, n.dataplane, n.portOf('b')), Verdict.PORT_DOWN);
  assert.is(n.out.length, 0);
});

test('ARP from the port of a pod that has gone, and from dp0, is not answered', () => {
  const n = natNode();
  const request = `arp who-has ${GATEWAY} tell ${A}`;
  assert.is(n.receive('a', request), 'arp-answered');
  assert.is(n.receive('host', `arp who-has ${A} tell ${NODE}`), 'arp-unknown-target');
  n.out.length = 0;
  clearHop(n.node, n.portOf('a'));
  assert.is(n.receive('a', request), 'from-unknown-port');
  assert.is(n.out.length, 0);
});

test('fragments that end beyond 65535 bytes, or whose first piece has no whole transport header, are dropped', () => {
  const n = natNode();
  assert.is(n.receive('a', `udp ${A} > ${B} len 64 frag id 1 offset 65528`), 'fragment-too-long');
  for (const [protocol, bytes] of [
    [PROTOCOL_TCP, 16],
    [PROTOCOL_UDP, 0],
    [PROTOCOL_SCTP, 8],
    [PROTOCOL_ICMP, 0],
  ] as const) {
    const first = concat(
      ETHERNET.a,
      ipPacket(addressWords(A), addressWords(B), protocol, new Uint8Array(bytes), -1, { moreFragments: true }),
    );
    assert.is(n.receiveBytes('a', first), 'fragment-tiny', `protocol ${protocol}`);
  }
  // RFC 3128: a second piece that would overwrite the flags of the first.
  assert.is(n.receive('a', `tcp ${A} > ${B} len 64 frag id 2 offset 8`), 'fragment-tiny');
  assert.is(n.flows, 0);
  assert.is(n.out.length, 0);
});

/** Endpoint of each client port in turn, as a node chooses it for a connection from outside. */
function choices(n: TestNode, client: string, ports: number): string[] {
  return Array.from({ length: ports }, (_, i) => {
    n.receive('host', `udp ${client}:${4000 + i} > ${VIP}:53 len 8`);
    return /> (10\.244\.\d+\.\d+):53/.exec(n.sent('host').join('\n').replace(/.*\(/, ''))?.[1] ?? 'none';
  });
}

const ENDPOINTS = [2, 3, 4, 5].map((host) => `10.244.2.${host}:53`);
const maglevNode = (seed: number, endpoints = ENDPOINTS, affinitySeconds = 0) =>
  natNode({ seed }).service(`udp ${VIP}:53`, { endpoints, maglev: true, affinitySeconds });

test('Maglev: every node sends a connection to the same endpoint, all are used, one that goes moves few others', () => {
  const [one, two] = [choices(maglevNode(1), SERVER, 200), choices(maglevNode(2), SERVER, 200)];
  assert.equal(one, two);
  const shares = ENDPOINTS.map((endpoint) => one.filter((chosen) => `${chosen}:53` === endpoint).length);
  for (const share of shares) assert.ok(share > 25 && share < 80, `shares ${shares}`);
  const after = choices(maglevNode(1, ENDPOINTS.slice(0, 3)), SERVER, 200);
  const moved = one.filter((chosen, i) => `${chosen}:53` !== ENDPOINTS[3] && chosen !== after[i]).length;
  assert.ok(moved < 15, `${moved} of ${200 - shares[3]!} moved without need`);
  assert.not.ok(after.includes('10.244.2.5'));
});

test('Maglev with session affinity: all connections of one client have one endpoint, and clients are spread', () => {
  const n = maglevNode(1, ENDPOINTS, 600);
  const used = new Set<string>();
  for (let host = 1; host <= 20; host++) {
    const chosen = new Set(choices(n, `192.0.2.${host}`, 5));
    assert.is(chosen.size, 1, `client ${host}: ${[...chosen]}`);
    used.add([...chosen][0]!);
  }
  assert.is(used.size, 4);
});

test.run();
