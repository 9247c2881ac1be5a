/** The rows of verdicts.ts: each is returned, has one meaning, and its sender gets the reply that the row specifies. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FRAME_AT } from '../../native-free-dataplane/dataplane.ts';
import {
  isFailure,
  MAX_VERDICTS,
  RETIRED,
  ReplyKind,
  VERDICTS,
  Verdict,
  verdictNamed,
} from '../../native-free-dataplane/verdicts.ts';
import { icmpErrorCode, icmpErrorType } from '../../native-free-dataplane/wire/icmp-error.ts';
import { Write } from '../../src/devices/port.ts';
import { PortEmitter } from '../../src/worker/port-emitter.ts';
import { ROOT } from '../lib/cluster.ts';
import { TestNode } from '../lib/test-node.ts';
import { nodeOf, VERDICT_PACKETS, type VerdictPacket } from '../lib/verdict-packets.ts';

const verdicts = Object.entries(Verdict);
const rows = VERDICTS.flatMap((row) => (row === undefined ? [] : [row]));
const rowOf = (name: string) => VERDICTS[verdictNamed(name)]!;
/** Verdicts that stand for "no reply was permitted". */
const unanswered = new Set(rows.flatMap((row) => row.unanswered ?? []));

test('every row has a kebab-case name, a sentence, a source and advice', () => {
  for (const row of rows) {
    assert.match(row.name, /^[a-z0-9]+(-[a-z0-9]+)*$/);
    for (const text of [row.sentence, row.advice]) assert.match(text, /^[A-Za-z`].*[.)]$/, `${row.name}: ${text}`);
    assert.ok(row.source.length > 0, row.name);
  }
});

test('a number has one row, below MAX_VERDICTS, and is not a retired one', () => {
  assert.is(new Set(verdicts.map(([, number]) => number)).size, verdicts.length);
  assert.is(rows.length, verdicts.length);
  for (const [name, number] of verdicts) {
    assert.ok(VERDICTS[number], name);
    assert.is(RETIRED[number], undefined, name);
    assert.ok(number < MAX_VERDICTS);
  }
});

test('no two rows share a name or a sentence', () => {
  assert.is(new Set(rows.map(({ name }) => name)).size, rows.length);
  assert.is(new Set(rows.map(({ sentence }) => sentence)).size, rows.length);
});

test('a row has a reply exactly when it is answered, and its fallback is a dropped row of its own', () => {
  for (const row of rows) {
    assert.is(row.reply !== undefined, row.class === 'answered', row.name);
    if (row.unanswered === undefined) continue;
    assert.is(row.class, 'answered', row.name);
    assert.is(rowOf(row.unanswered).class, 'dropped', row.name);
    assert.ok(rowOf(row.unanswered).sentence.includes(row.name), `${row.unanswered} does not name ${row.name}`);
  }
});

test('`status` lists dropped, lost and refused packets, and not those that arrived or were served here', () => {
  const arrived = rows.filter((row) => !isFailure(row)).map(({ name }) => name);
  assert.equal(arrived.sort(), [
    'arp-answered',
    'encapsulated',
    'forwarded',
    'fragment-held',
    'go-on',
    'own-ping',
    'ping-answered',
    'routed-to-node',
    'to-host',
  ]);
});

/** Verdicts that the code returns: `Verdict.X` where it is not compared with. */
function returnedInCode(): Set<string> {
  const found = new Set<string>();
  for (const folder of ['native-free-dataplane', 'src']) {
    for (const file of readdirSync(join(ROOT, folder), { recursive: true }) as string[]) {
      if (!file.endsWith('.ts') || file === 'verdicts.ts') continue;
      const code = readFileSync(join(ROOT, folder, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
      for (const [, name = ''] of code.matchAll(/(?<![!=]== )\bVerdict\.([A-Z0-9_]+)/g)) found.add(name);
    }
  }
  return found;
}

test('every verdict is returned: by name, or as the fallback of an answered one, never both', () => {
  const named = returnedInCode();
  for (const [name, number] of verdicts) {
    const fallback = unanswered.has(VERDICTS[number]!.name);
    assert.is(
      named.has(name),
      !fallback,
      `${name} is ${fallback ? 'a fallback, and returned by name' : 'returned nowhere'}`,
    );
  }
});

/** None has a packet of the pipeline: the first is not final, the others are counted by the worker, or later (below). */
const WITHOUT_PACKET = new Set(['go-on', 'write-failed', 'write-queue-full', 'device-closed', 'ping-unanswered']);

test('every verdict has a packet in this test', () => {
  const covered = new Set(VERDICT_PACKETS.map(({ verdict }) => verdict));
  const missing = rows.map(({ name }) => name).filter((name) => !covered.has(name) && !unanswered.has(name));
  assert.equal(new Set(missing), WITHOUT_PACKET);
});

function titleOf({ verdict, of }: VerdictPacket): string {
  return of === undefined ? verdict : `${verdict} (${of})`;
}

for (const packet of VERDICT_PACKETS) {
  const row = rowOf(packet.verdict);
  test(`${titleOf(packet)}: ${row.class}, and no other counter moves`, () => {
    const n = nodeOf(packet);
    assert.is(packet.send(n), packet.verdict);
    assert.equal(n.countersMoved(), row.class === 'held' ? {} : { [packet.verdict]: 1 });
    if (['dropped', 'held', 'noted'].includes(row.class)) assert.equal(n.out, []);
    else assert.is(n.out.length, 1);
    if (row.class === 'answered') isReply(packet, n);
    if (row.class === 'delivered') assert.is(n.out[0]!.port, 0);
  });
}

/** The frame last passed to the node, as long as its reply was built elsewhere. */
const received = (n: TestNode, bytes: number): Uint8Array => n.pkt.bytes.subarray(FRAME_AT + 14, FRAME_AT + 14 + bytes);

/** The one frame sent is the reply of the packet's row, and goes to the packet's sender. */
function isReply(packet: VerdictPacket, n: TestNode): void {
  const { reply } = rowOf(packet.verdict);
  const [sent] = n.sentFrames(packet.from);
  assert.ok(sent, 'it does not go back to the sender');
  const view = new DataView(sent.bytes.buffer);
  if (reply!.kind === ReplyKind.ARP_REPLY) {
    assert.equal([view.getUint16(12), view.getUint16(20)], [0x0806, 2]);
    return;
  }
  const protocol = view.getUint8(23);
  if (reply!.kind === ReplyKind.ECHO_REPLY) {
    assert.equal([protocol, view.getUint16(34)], [1, 0]);
    return;
  }
  const original = received(n, 20);
  assert.equal(sent.bytes.subarray(30, 34), original.subarray(12, 16), 'to the address of the sender');
  const asClosedPort = reply!.kind === ReplyKind.AS_CLOSED_PORT;
  const reset = reply!.kind === ReplyKind.TCP_RESET || (asClosedPort && original[9] === 6);
  if (reset || asClosedPort)
    assert.equal(sent.bytes.subarray(26, 30), original.subarray(16, 20), 'from the destination');
  if (reset) {
    assert.is(protocol, 6);
    assert.ok((view.getUint8(47) & 4) !== 0, 'RST');
    return;
  }
  assert.is(protocol, 1);
  const { error } = reply!;
  assert.equal([view.getUint8(34), view.getUint8(35)], [icmpErrorType(error), icmpErrorCode(error)]);
  const mtu = packet.verdict === 'fragmentation-needed' ? n.identity.podMtu : 0;
  assert.is(view.getUint32(38), mtu, 'next-hop MTU');
  const quoted = sent.bytes.length - 42;
  assert.ok(quoted >= 28, 'at least the header and eight bytes are quoted');
  assert.equal(sent.bytes.subarray(42), received(n, quoted), 'the packet is quoted as its sender knows it');
}

for (const packet of VERDICT_PACKETS) {
  const row = rowOf(packet.verdict);
  const limited = row.unanswered !== undefined && row.reply!.kind !== ReplyKind.ECHO_REPLY;
  if (!limited) continue;
  test(`${titleOf(packet)}, beyond the rate limit: ${row.unanswered}, and nothing is sent`, () => {
    const n = nodeOf(packet);
    n.dataplane.replyTokens.fill(0);
    n.dataplane.replyFilledMs.fill(n.nowMs);
    assert.is(packet.send(n), row.unanswered);
    assert.equal(n.countersMoved(), { [row.unanswered!]: 1 });
    assert.equal(n.out, []);
    n.nowMs += 1;
    assert.is(packet.send(n), packet.verdict, 'a millisecond later there is room for one more');
  });
}

test('every fallback is reached: beyond the rate limit, or by a packet of its own', () => {
  const limited = VERDICT_PACKETS.map(({ verdict }) => rowOf(verdict)).filter(
    ({ reply }) => reply !== undefined && reply.kind !== ReplyKind.ECHO_REPLY,
  );
  const reached = new Set([...limited.map((row) => row.unanswered), ...VERDICT_PACKETS.map(({ verdict }) => verdict)]);
  assert.equal(
    [...unanswered].filter((name) => !reached.has(name)),
    [],
  );
});

test('a frame that a device does not accept is counted as lost, in addition to its verdict', () => {
  const n = nodeOf({ verdict: 'forwarded', from: 'a', send: () => '' });
  const emitter = new PortEmitter();
  emitter.dataplane = n.dataplane;
  const answers = [Write.SENT, Write.FULL, Write.REFUSED, Write.DOWN];
  emitter.ports[1] = { index: 1, fd: -1, lastBatch: 0, read: () => 0, write: () => answers.shift()! };
  for (let i = 0; i < 4; i++) {
    n.pkt.outPort = 1;
    emitter.emit(n.pkt);
  }
  n.pkt.outPort = 2;
  emitter.emit(n.pkt);
  const moved = n.countersMoved();
  assert.equal(moved, { 'write-queue-full': 1, 'write-failed': 1, 'device-closed': 2 });
  for (const name of Object.keys(moved)) assert.is(rowOf(name).class, 'lost', name);
  assert.equal(
    rows
      .filter((row) => row.class === 'lost')
      .map(({ name }) => name)
      .sort(),
    [...Object.keys(moved), 'ping-unanswered'].sort(),
  );
});

test('pings to the outside that were not answered count when they expire, each of them; others do not', () => {
  const n = new TestNode().pod('a', '10.244.1.2').pod('b', '10.244.1.3');
  const ping = (to: string, id: number): void => {
    n.receive('a', `icmp 10.244.1.2 > ${to} echo-request id ${id} seq 1`);
  };
  for (let i = 0; i < 3; i++) ping('203.0.113.9', 7);
  n.receive('host', 'icmp 203.0.113.9 > 172.18.0.11 echo-reply id 7 seq 1');
  ping('203.0.113.8', 7);
  ping('10.244.1.3', 8);
  n.advance(20_000);
  n.countersMoved();
  n.advance(30_000);
  assert.equal(n.countersMoved(), { 'ping-unanswered': 3 });
  assert.is(n.flows, 0);
});

test.run();
