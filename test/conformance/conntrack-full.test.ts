/**
 * A connection table that is too small: which connections stay, which new ones are admitted, who gets an error, and
 * that the table is consistent afterwards. (kubernetes #71261 and #18604, felix #617, cilium #3232; OVS "conntrack -
 * limit"; linux early_drop.)
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  allocateRecord,
  freeRecord,
  freeRecords,
  scheduleRecord,
} from '../../native-free-dataplane/conntrack/lifetime.ts';
import { conntrackBytes, createConntrack, Rec, recordAt } from '../../native-free-dataplane/conntrack/record.ts';
import { entryCount } from '../../native-free-dataplane/conntrack/shares.ts';
import {
  hashTuple,
  InsertResult,
  insertRecord,
  removeRecord,
} from '../../native-free-dataplane/conntrack/tuple-index.ts';
import { findFlow, trackFlow } from '../../native-free-dataplane/stages/flow.ts';
import { guard } from '../../native-free-dataplane/stages/guard.ts';
import { rewrite } from '../../native-free-dataplane/stages/nat.ts';
import { parseFrame } from '../../native-free-dataplane/stages/parse.ts';
import { hopOfFlow } from '../../native-free-dataplane/stages/route.ts';
import { Verdict } from '../../native-free-dataplane/verdicts.ts';
import { conntrackFaults } from '../lib/conntrack-check.ts';
import { frame } from '../lib/frames/frame-text.ts';
import { loadFrame } from '../lib/frames/load-frame.ts';
import { A, B, entries, GATEWAY, isPacket, NODE, natNode, onlySent, portsOf, SERVER } from '../lib/nat-node.ts';
import { seededRandom } from '../lib/seeded-random.ts';
import type { TestNode } from '../lib/test-node.ts';

const MAX = 4096;

/** Pod b behind NodePort 31418 of a node with a small table. */
function server(): TestNode {
  return natNode({ maxConntrack: MAX }).service('tcp 10.96.0.10:80', { endpoints: [`${B}:80`], nodePort: 31418 });
}

/** Client number n outside, whose segments go through the NodePort. */
class Client {
  readonly address: string;
  readonly port: number;
  private readonly n: TestNode;
  /** The client's source port as pod b sees it. */
  seen = 0;

  constructor(n: TestNode, number: number, network = '10.50') {
    this.n = n;
    this.address = `${network}.${(number >> 8) & 255}.${number & 255}`;
    this.port = 20_000 + (number % 40_000);
  }

  private toServer(flags: string): boolean {
    if (this.n.receive('host', `tcp ${this.address}:${this.port} > ${NODE}:31418 ${flags}`) !== 'forwarded')
      return false;
    const sent = this.n.sentFrames('b');
    if (sent.length !== 1) return false;
    const [port] = portsOf(sent[0]!);
    // A different port than before: its record was evicted and the segment treated as a new connection, which the
    // server would reset.
    const same = this.seen === 0 || this.seen === port;
    this.seen = port;
    return same;
  }

  private toClient(flags: string): boolean {
    if (this.n.receive('b', `tcp ${B}:80 > ${GATEWAY}:${this.seen} ${flags}`) !== 'to-host') {
      this.n.out.length = 0;
      return false;
    }
    const lines = this.n.sent('host');
    return lines.length === 1 && (lines[0] ?? '').startsWith(`tcp ${NODE}:31418 > ${this.address}:${this.port} `);
  }

  syn(): boolean {
    return this.toServer('S seq 100');
  }

  synAck(): boolean {
    return this.toClient('SA seq 500 ack 101');
  }

  ack(): boolean {
    return this.toServer('A seq 101 ack 501');
  }

  /** Send data in both directions; the same bytes every time, like an application keep-alive. */
  exchange(): boolean {
    return this.toServer('PA seq 101 ack 501 len 10') && this.toClient('PA seq 501 ack 111 len 10');
  }
}

test('kubernetes #71261, #18604, felix #617, cilium #3232: SYN flood of ten times the table size: no established connection is lost, most new clients connect, all records are reclaimed', () => {
  const n = server();
  const random = seededRandom(71261);
  const old = Array.from({ length: 800 }, (_, i) => new Client(n, i));
  for (const client of old) {
    assert.ok(client.syn() && client.synAck() && client.ack());
  }
  assert.is(n.flows, old.length);
  n.countersMoved();

  const clients: { client: Client; step: number; at: number }[] = [];
  let received = 0;
  let reached = 0;
  let admitted = 0;
  let talked = 0;
  // Four spoofed SYNs per millisecond; the server answers every other one, as one with SYN cookies does.
  for (let ms = 0; received < 10 * MAX; ms++) {
    n.advance(1);
    for (let i = 0; i < 4; i++, received++) {
      const spoofed = new Client(n, random.below(65536), '198.18');
      if (!spoofed.syn()) continue;
      reached++;
      if ((i & 1) === 0) spoofed.synAck();
    }
    // Ten real clients in 100 ms, each with a latency of 20 ms; meanwhile one of the old connections sends something.
    if (ms % 10 === 0) clients.push({ client: new Client(n, clients.length, '10.60'), step: 0, at: ms });
    for (const each of clients) {
      if (each.step > 2 || each.at + each.step * 20 !== ms) continue;
      const { client } = each;
      const went =
        each.step === 0 ? client.syn() : each.step === 1 ? client.synAck() : client.ack() && client.exchange();
      each.step = went ? each.step + 1 : 99;
      if (each.step === 3) admitted++;
    }
    assert.ok(old[ms % old.length]!.exchange(), `an established connection lost at ${ms} ms`);
    talked++;
  }
  for (const client of old) assert.ok(client.exchange());
  const finished = clients.filter(({ step }) => step === 3 || step === 99).length;
  assert.ok(finished > 900);
  assert.ok(admitted / finished >= 0.95, `${admitted} of ${finished} new clients got in`);
  assert.ok(reached / received >= 0.99, `${reached} of ${received} SYNs passed`);
  assert.ok(talked > 0);
  assert.ok(n.flows <= MAX);
  assert.equal(conntrackFaults(n.conntrack), []);

  // Everything but the established connections has expired, and every frame was counted once.
  n.advance(200_000);
  // (A client whose entry was given up just before its ACK was picked up again under the same port, if it was free.)
  assert.ok(n.flows <= old.length + admitted && n.flows >= old.length + 0.97 * admitted, `${n.flows} flows`);
  // One that was picked up in the middle, and has not been answered since, stays for five minutes.
  const unanswered = entries(n).filter(({ assured }) => !assured).length;
  assert.ok(unanswered <= 0.002 * n.flows, `${unanswered} of ${n.flows}`);
  assert.is(freeRecords(n.conntrack), MAX - n.flows);
  assert.equal(conntrackFaults(n.conntrack), []);
  // Of those picked up again, one in ten had another port than its own, which may be free by now.
  const lost = clients.filter(({ client, step }) => step === 3 && !client.exchange());
  assert.ok(lost.length <= 0.005 * admitted, `${lost.length} of ${admitted} admitted clients lost`);
});

test('a pod whose clients hold its share of the table: new ones are refused and counted, none is evicted, others connect', () => {
  const n = server();
  const old: Client[] = [];
  for (let i = 0; i < MAX; i++) {
    n.advance(1);
    const client = new Client(n, i);
    if (!client.syn()) break;
    assert.ok(client.synAck() && client.ack(), `client ${client.port}`);
    old.push(client);
  }
  // Two thirds: twice as many as are free.
  assert.ok(Math.abs(old.length - (MAX * 2) / 3) <= 2, `${old.length} connections`);
  n.countersMoved();
  for (let i = 0; i < 100; i++) {
    n.advance(1);
    assert.is(n.receive('host', `tcp 10.70.0.${i}:5000 > ${NODE}:31418 S`), 'conntrack-share');
    assert.equal(n.out, []);
  }
  assert.equal(n.countersMoved(), { 'conntrack-share': 100 });
  // Pod b is refused nothing that it opens itself to others, but that counts for it too.
  assert.is(n.receive('b', `udp ${B}:5000 > ${A}:53 len 4`), 'conntrack-share');
  // Another pod connects, even to this one.
  for (let i = 0; i < 100; i++) assert.is(n.receive('a', `tcp ${A}:${6000 + i} > ${B}:80 S`), 'forwarded');
  n.out.length = 0;
  for (const client of old) assert.ok(client.exchange());
  // Some connections end, so another can be admitted.
  const [first] = old as [Client];
  n.receive('host', `tcp ${first.address}:${first.port} > ${NODE}:31418 R seq 111`);
  n.receive('host', `tcp ${old[1]!.address}:${old[1]!.port} > ${NODE}:31418 R seq 111`);
  n.advance(130_000);
  n.out.length = 0;
  assert.ok(new Client(n, 3999).syn());
  assert.equal(conntrackFaults(n.conntrack), []);
});

test('two pods that open and hold connections leave a fifth of the table to others', () => {
  const n = natNode({ maxConntrack: MAX }).pod('c', '10.244.1.4');
  const held = { a: 0, b: 0 };
  for (let i = 0; i < MAX; i++) {
    for (const [name, ip] of [
      ['a', A],
      ['b', B],
    ] as const) {
      const ports = `${10_000 + i}`;
      if (n.receive(name, `tcp ${ip}:${ports} > ${SERVER}:80 S seq 1`) !== 'to-host') continue;
      const [port] = portsOf(n.sentFrames('host').at(-1)!);
      n.receive('host', `tcp ${SERVER}:80 > ${NODE}:${port} SA seq 5 ack 2`);
      n.receive(name, `tcp ${ip}:${ports} > ${SERVER}:80 A seq 2 ack 6`);
      held[name]++;
    }
    n.out.length = 0;
    if ((i & 63) === 0) n.advance(1);
  }
  for (const count of Object.values(held)) assert.ok(Math.abs(count - (MAX * 2) / 5) <= 3, JSON.stringify(held));
  for (let i = 0; i < 200; i++) assert.is(n.receive('c', `tcp 10.244.1.4:${5000 + i} > ${B}:80 S`), 'forwarded');
  assert.equal(conntrackFaults(n.conntrack), []);
});

test("a flood over a pod's share evicts that pod's unanswered connections, and nobody else's", () => {
  const n = natNode({ maxConntrack: MAX });
  n.receive('b', `udp ${B}:7000 > ${SERVER}:53 len 4`);
  for (let i = 0; i < 3 * MAX; i++) {
    if ((i & 3) === 0) n.advance(1);
    assert.is(
      n.receive('a', `udp ${A}:${1024 + (i % 60_000)} > 10.244.2.${2 + (i >> 13)}:9 len 4`),
      'encapsulated',
      `${i}`,
    );
    n.out.length = 0;
  }
  assert.ok(n.flows < (MAX * 2) / 3 + 10, `${n.flows} connections`);
  n.countersMoved();
  assert.is(n.receive('b', `udp ${B}:7000 > ${SERVER}:53 len 4`), 'to-host');
  assert.is(n.flows, entries(n).length);
  assert.equal(conntrackFaults(n.conntrack), []);
});

test('queries that were answered once (DNS) are not assured: they can be evicted', () => {
  const n = natNode({ maxConntrack: 1024 });
  for (let i = 0; i < 3000; i++) {
    n.advance(1);
    const port = 32768 + (i % 16384);
    assert.is(n.receive('a', `udp ${A}:${port} > ${SERVER}:53 len 20`), 'to-host', `question ${i}`);
    isPacket(onlySent(n, 'host'), `udp ${NODE}:${port} > ${SERVER}:53 len 20`);
    assert.is(n.receive('host', `udp ${SERVER}:53 > ${NODE}:${port} len 40`), 'forwarded', `answer ${i}`);
    n.out.length = 0;
  }
  assert.equal(conntrackFaults(n.conntrack), []);
});

test('cilium #12686, OVS 6c082a831, a720a7fa8: an evicted or removed connection is gone in both directions, and its port is free', () => {
  const n = natNode({ maxConntrack: 256, masqueradePorts: [40000, 41999] });
  for (let i = 0; i < 2000; i++) {
    // A sixteenth of the table is kept free, and evicted records are quarantined for 20 ms.
    n.advance(2);
    assert.is(n.receive('a', `udp ${A}:${10_000 + i} > ${SERVER}:53 len 4`), 'to-host', `connection ${i}`);
    n.out.length = 0;
    assert.is(n.conntrack.index.filter((word) => word !== 0).length, 2 * n.flows);
  }
  for (const { record } of entries(n)) removeRecord(n.conntrack, record);
  assert.is(n.flows, 0);
  assert.ok(n.conntrack.index.every((word) => word === 0));
  n.advance(20_000);
  assert.is(freeRecords(n.conntrack), 256);
  assert.equal(conntrackFaults(n.conntrack), []);
});

test('CVE-2003-0244, OVS hash_basis: tuples chosen to collide in one bucket collide only under that secret', () => {
  const make = (secret: Int32Array) => {
    const options = { addressWords: 1, max: 1 << 14, workers: 1, secret };
    return createConntrack(new ArrayBuffer(conntrackBytes(options)), options);
  };
  const known = make(Int32Array.of(1, 2, 3, 4));
  const chosen: Int32Array[] = [];
  for (let i = 0; chosen.length < 200; i++) {
    const tuple = Int32Array.of(0x0a000000 + (i >>> 14), 0x0a600001, ((i & 0x3fff) << 16) | 80);
    if ((hashTuple(known, tuple, 0, 6) & known.bucketMask) === 0) chosen.push(tuple);
  }
  for (const secret of [Int32Array.of(5, 6, 7, 8), Int32Array.of(1, 2, 3, 6), Int32Array.of(-1, 0, 0, 0)]) {
    const other = make(secret);
    const buckets = new Map<number, number>();
    for (const tuple of chosen) {
      const bucket = hashTuple(other, tuple, 0, 6) & other.bucketMask;
      buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1);
    }
    assert.ok(Math.max(...buckets.values()) <= 4, `${Math.max(...buckets.values())} in one bucket`);
    // And so all of them can be inserted.
    for (const tuple of chosen) {
      const record = allocateRecord(other, 0, 0);
      const at = recordAt(other, record);
      other.words[at + Rec.META] = 6 << 16;
      other.words[at + Rec.EXPIRES] = 10_000;
      other.words.set(tuple, at + Rec.TUPLES);
      other.words.set([tuple[1]!, tuple[0]!, (80 << 16) | (tuple[2]! >>> 16)], at + Rec.TUPLES + 3);
      assert.is(insertRecord(other, record, 0), InsertResult.INSERTED);
      scheduleRecord(other, record, 0, 0);
    }
    assert.equal(conntrackFaults(other), []);
  }
  // Under the secret they were chosen for, most do not fit: the insert fails, it does not loop.
  let refused = 0;
  for (const tuple of chosen) {
    const record = allocateRecord(known, 0, 0);
    const at = recordAt(known, record);
    known.words[at + Rec.META] = 6 << 16;
    known.words[at + Rec.EXPIRES] = 10_000;
    known.words.set(tuple, at + Rec.TUPLES);
    known.words.set([tuple[1]!, tuple[0]!, (80 << 16) | (tuple[2]! >>> 16)], at + Rec.TUPLES + 3);
    if (insertRecord(known, record, 0) === InsertResult.INSERTED) scheduleRecord(known, record, 0, 0);
    else {
      freeRecord(known, record, 0, 0);
      refused++;
    }
  }
  assert.is(entryCount(known), chosen.length - refused);
  assert.equal(conntrackFaults(known), []);
});

test('a packet in flight when its connection is evicted is still translated, not forwarded untranslated', () => {
  const n = natNode().service('udp 10.96.0.10:53', { endpoints: [`${B}:5353`] });
  n.receive('a', `udp ${A}:4000 > 10.96.0.10:53 len 8`);
  n.out.length = 0;
  // As another worker would between this one's look-up and its translation.
  const { pkt, dataplane, conntrack, nowMs } = n;
  loadFrame(pkt, frame(`udp ${A}:4000 > 10.96.0.10:53 len 8`), n.portOf('a'));
  assert.is(parseFrame(pkt), Verdict.GO_ON);
  assert.is(guard(pkt, dataplane), Verdict.GO_ON);
  findFlow(pkt, dataplane);
  const { flow } = pkt;
  assert.ok(flow >= 0);
  removeRecord(conntrack, flow);
  freeRecord(conntrack, flow, 0, nowMs);
  assert.is(trackFlow(pkt, dataplane), Verdict.GO_ON);
  assert.is(hopOfFlow(pkt, dataplane, pkt.direction), n.portOf('b'));
  assert.ok(rewrite(pkt, dataplane));
  assert.equal([pkt.dst[3], pkt.dstPort], [0x0af40103, 5353]);
  // Much later the record belongs to another connection: the packet is not sent as part of that one.
  loadFrame(pkt, frame(`udp ${A}:4000 > 10.96.0.10:53 len 8`), n.portOf('a'));
  assert.is(parseFrame(pkt), Verdict.GO_ON);
  pkt.flow = flow;
  conntrack.words[recordAt(conntrack, flow) + Rec.TUPLES + 2] = (4001 << 16) | 53;
  assert.not.ok(rewrite(pkt, dataplane));
  assert.is(pkt.dstPort, 53);
});

test('a packet in flight when its connection is evicted does not block the free queue', () => {
  const n = natNode({ maxConntrack: 64 });
  const { conntrack } = n;
  const all: number[] = [];
  for (let record = allocateRecord(conntrack, 0, 0); record >= 0; record = allocateRecord(conntrack, 0, 0))
    all.push(record);
  assert.is(all.length, 64);
  for (const record of all) freeRecord(conntrack, record, 0, 1000);
  // It refreshed the record, for a day.
  conntrack.words[recordAt(conntrack, all[0]!) + Rec.EXPIRES] = 86_400_000;
  assert.is(allocateRecord(conntrack, 0, 1030), -1, 'it rests a little longer');
  for (let i = 0; i < 64; i++) assert.is(allocateRecord(conntrack, 0, 1060), all[i]);
});

test.run();
