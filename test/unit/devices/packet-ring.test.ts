import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PacketRing, ringBytes } from '../../../src/devices/packet-ring.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const ROOM = 1024;
const packet = (length: number, seed = length): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (seed + i * 7) & 255);

/** Both ends, each with a view of its own on the memory, as two threads have. */
function bothEnds(room = ROOM): { writer: PacketRing; reader: PacketRing } {
  const buffer = new ArrayBuffer(ringBytes(room));
  return { writer: new PacketRing(buffer), reader: new PacketRing(buffer) };
}

function take(reader: PacketRing): { tag: number; bytes: Uint8Array } | undefined {
  if (!reader.next()) return undefined;
  const { at, length, tag } = reader;
  const bytes = reader.bytes.slice(at, at + length);
  reader.release();
  return { tag, bytes };
}

test('packets are read in the order written, byte for byte', () => {
  const { writer, reader } = bothEnds();
  assert.is(take(reader), undefined);
  for (const length of [0, 1, 7, 8, 63, 64, 200]) assert.ok(writer.push(-length, packet(length), 0, length));
  for (const length of [0, 1, 7, 8, 63, 64, 200]) {
    const found = take(reader);
    assert.is(found?.tag, -length);
    assert.equal(found?.bytes, packet(length));
  }
  assert.is(take(reader), undefined);
});

test('a ring in a part of a larger buffer', () => {
  const { writer, reader } = bothEnds();
  writer.push(1, packet(100), 20, 50);
  assert.equal(take(reader)?.bytes, packet(100).slice(20, 50));
});

test('a full ring refuses a packet, keeps its contents, and has room again after one is released', () => {
  const { writer, reader } = bothEnds();
  let count = 0;
  while (writer.push(count, packet(120), 0, 120)) count++;
  assert.is(count, 8, '1024 bytes of room, 128 a record');
  assert.is(take(reader)?.tag, 0);
  assert.ok(writer.push(99, packet(120), 0, 120));
  assert.not.ok(writer.push(100, packet(120), 0, 120));
  for (let tag = 1; tag < 8; tag++) assert.is(take(reader)?.tag, tag);
  assert.is(take(reader)?.tag, 99);
  assert.is(take(reader), undefined);
});

test('a packet that can never fit is refused', () => {
  const { writer } = bothEnds();
  assert.not.ok(writer.push(0, packet(ROOM), 0, ROOM));
  assert.ok(writer.push(0, packet(ROOM - 8), 0, ROOM - 8));
});

test('next() does not release: after a crash the reader finds the packet again', () => {
  const { writer, reader } = bothEnds();
  writer.push(5, packet(10), 0, 10);
  assert.ok(reader.next());
  assert.is(take(reader)?.tag, 5);
});

test('the writer wakes a reader that sleeps, once; a reader does not sleep over a packet', () => {
  const { writer, reader } = bothEnds();
  assert.not.ok(writer.wantsWaking());
  assert.ok(reader.sleep());
  writer.push(1, packet(3), 0, 3);
  assert.ok(writer.wantsWaking());
  assert.not.ok(writer.wantsWaking());
  assert.not.ok(reader.sleep());
  assert.not.ok(writer.wantsWaking());
});

test('any sequence of writes and reads equals a plain queue', () => {
  const random = seededRandom(42);
  const { writer, reader } = bothEnds(256);
  const queue: { tag: number; length: number }[] = [];
  for (let turn = 0; turn < 20_000; turn++) {
    if (random.below(2) === 0) {
      const length = random.below(120);
      if (writer.push(turn, packet(length, turn), 0, length)) queue.push({ tag: turn, length });
      else assert.ok(queue.length > 0, 'an empty ring takes a packet of this size');
    } else {
      const expected = queue.shift();
      const found = take(reader);
      assert.is(found?.tag, expected?.tag);
      if (expected) assert.equal(found?.bytes, packet(expected.length, expected.tag));
    }
  }
});

test('the size must be a power of two', () =>
  assert.throws(() => new PacketRing(new ArrayBuffer(ringBytes(1000))), /power of two/));

test.run();
