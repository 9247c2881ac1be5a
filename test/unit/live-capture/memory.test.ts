/** Sessions of readers, and their rings: claimed, expired, full, wrapped. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  ANY_PORT,
  activeSessions,
  attachCaptureMemory,
  type CaptureMemory,
  type CaptureSettings,
  captureBytes,
  changesOf,
  claimSession,
  createCaptureMemory,
  endSession,
  expireSessions,
  LEASE_MS,
  Point,
  renewSession,
  SESSIONS,
  sessionsInUse,
  startSession,
} from '../../../native-free-dataplane/live-capture/memory.ts';
import {
  NO_ROOM,
  RECORD_WORDS,
  RecordWord,
  RingReader,
  RingWriter,
} from '../../../native-free-dataplane/live-capture/ring.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const SETTINGS: CaptureSettings = {
  points: Point.RECEIVED,
  snapBytes: 128,
  port: ANY_PORT,
  program: Int32Array.of(1, 0, 0, 0, 0, 0, 0, 0),
};

function memoryOf(ringBytes = 1024): CaptureMemory {
  const options = { workers: 2, ports: 8, ringBytes };
  return createCaptureMemory(new ArrayBuffer(captureBytes(options)), options);
}

test('another process finds the memory by its header only', () => {
  const memory = memoryOf();
  assert.is(attachCaptureMemory(memory.words.buffer as ArrayBuffer)?.ringBytes, 1024);
  assert.is(attachCaptureMemory(new ArrayBuffer(4096)), undefined);
});

test('so many readers can claim a session; the next has to wait until one ends', () => {
  const memory = memoryOf();
  const claims = Array.from({ length: SESSIONS }, () => claimSession(memory, 1000)!);
  assert.is(new Set(claims.map(({ session }) => session)).size, SESSIONS);
  assert.is(claimSession(memory, 1000), undefined);
  assert.is(sessionsInUse(memory), SESSIONS);
  endSession(memory, claims[2]!);
  assert.is(claimSession(memory, 1000)?.session, claims[2]?.session);
});

test('workers see a session from its start to its end, and each changes the word that they compare', () => {
  const memory = memoryOf();
  const before = changesOf(memory);
  const claim = claimSession(memory, 1000)!;
  assert.equal(activeSessions(memory), []);
  const generation = startSession(memory, claim, SETTINGS);
  assert.is.not(changesOf(memory), before);
  assert.equal(activeSessions(memory), [{ session: claim.session, generation, ...SETTINGS }]);
  const started = changesOf(memory);
  endSession(memory, claim);
  assert.is.not(changesOf(memory), started);
  assert.equal(activeSessions(memory), []);
});

test('a session whose reader has died expires, also when the clock passes 2^31 ms', () => {
  for (const nowMs of [1000, 2 ** 31 - 500, 2 ** 32 - 500]) {
    const memory = memoryOf();
    const claim = claimSession(memory, nowMs)!;
    startSession(memory, claim, SETTINGS);
    assert.ok(renewSession(memory, claim, nowMs + 2000));
    expireSessions(memory, nowMs + 2000 + LEASE_MS - 1);
    assert.is(sessionsInUse(memory), 1, `${nowMs}`);
    expireSessions(memory, nowMs + 2000 + LEASE_MS + 2);
    assert.is(sessionsInUse(memory), 0, `${nowMs}`);
    assert.equal(activeSessions(memory), []);
  }
});

test('a reader that was stopped for too long notices that its session belongs to another', () => {
  const memory = memoryOf();
  const first = claimSession(memory, 1000)!;
  startSession(memory, first, SETTINGS);
  const laterMs = 1000 + LEASE_MS + 1;
  const others = Array.from({ length: SESSIONS - 1 }, () => claimSession(memory, laterMs));
  assert.ok(others.every((claim) => claim !== undefined));
  const second = claimSession(memory, laterMs)!;
  startSession(memory, second, SETTINGS);
  assert.not.ok(renewSession(memory, first, laterMs + 1));
  endSession(memory, first);
  assert.ok(
    activeSessions(memory).some(({ session }) => session === second.session),
    'the end of the first changes nothing',
  );
});

/** Write a record of `bytes` bytes, filled with `value`. */
function put(memory: CaptureMemory, ring: RingWriter, bytes: number, value: number): number {
  const at = ring.reserve(1, new Uint8Array(bytes).fill(value), 0, bytes);
  if (at !== NO_ROOM) for (const word of [RecordWord.VERDICT, RecordWord.PACKET]) memory.words[at + word] = 0;
  return at;
}

test('records arrive complete, in order, and only when they are published', () => {
  const memory = memoryOf();
  const [writer, reader] = [new RingWriter(memory, 0, 1), new RingReader(memory, 0, 1)];
  put(memory, writer, 60, 7);
  const second = put(memory, writer, 100, 8);
  memory.words[second + RecordWord.VERDICT] = 5;
  assert.not.ok(reader.next());
  writer.publish(3, 17);
  assert.ok(reader.next());
  assert.equal(reader.frame(), new Uint8Array(60).fill(7));
  assert.is(reader.word(RecordWord.VERDICT), 3, "the packet's verdict");
  assert.is(reader.word(RecordWord.RULE), 17, 'the rule that denied it');
  reader.release();
  assert.ok(reader.next());
  assert.equal(reader.frame(), new Uint8Array(100).fill(8));
  assert.is(reader.word(RecordWord.VERDICT), 5, 'its own verdict');
  assert.is(reader.word(RecordWord.RULE), 0, 'which no rule decided');
  reader.release();
  assert.not.ok(reader.next());
});

test('a frame without room is lost and counted, and those behind it say so', () => {
  const memory = memoryOf();
  const [writer, reader] = [new RingWriter(memory, 0, 0), new RingReader(memory, 0, 0)];
  const size = RECORD_WORDS * 4 + 80;
  const fitting = Math.floor(1024 / size);
  for (let i = 0; i < fitting; i++) assert.is.not(put(memory, writer, 80, i), NO_ROOM);
  for (let i = 0; i < 3; i++) assert.is(put(memory, writer, 80, i), NO_ROOM);
  writer.publish(1);
  assert.is(reader.lostAt(1), 3);
  assert.is(reader.lostAt(0), 0);
  for (let i = 0; i < fitting; i++) {
    assert.ok(reader.next());
    assert.is(reader.word(RecordWord.LOST), 0);
    reader.release();
  }
  put(memory, writer, 80, 9);
  writer.publish(1);
  assert.ok(reader.next());
  assert.is(reader.word(RecordWord.LOST), 3);
});

test('a record can be given up before it is published, also one at the start of the ring', () => {
  const memory = memoryOf();
  const [writer, reader] = [new RingWriter(memory, 0, 0), new RingReader(memory, 0, 0)];
  for (let i = 0; i < 40; i++) {
    const kept = put(memory, writer, 200, i);
    assert.not.ok(writer.drop(kept - 1));
    writer.publish(1);
    const given = put(memory, writer, 230, 99);
    assert.ok(writer.drop(given));
    assert.not.ok(writer.pending);
    const first = put(memory, writer, 20, 98);
    put(memory, writer, 20, 97);
    assert.not.ok(writer.drop(first), 'there is another record');
    writer.publish(1);
    for (const expected of [i, 98, 97]) {
      assert.ok(reader.next());
      assert.is(reader.frame()[0], expected);
      reader.release();
    }
    assert.not.ok(reader.next());
  }
});

test('random records over many laps: what is read is what was written, and the rest is counted', () => {
  const memory = memoryOf(4096);
  const [writer, reader] = [new RingWriter(memory, 2, 1), new RingReader(memory, 2, 1)];
  const random = seededRandom(5);
  const expected: { bytes: number; value: number }[] = [];
  let lost = 0;
  for (let i = 0; i < 20_000; i++) {
    if (random.below(2) === 0) {
      const bytes = random.below(700);
      const value = random.below(256);
      if (put(memory, writer, bytes, value) === NO_ROOM) lost++;
      else expected.push({ bytes, value });
      writer.publish(1);
    } else if (reader.next()) {
      const { bytes, value } = expected.shift()!;
      assert.equal(reader.frame(), new Uint8Array(bytes).fill(value));
      reader.release();
    } else assert.is(expected.length, 0);
  }
  assert.ok(lost > 10, `${lost} lost`);
  assert.is(reader.lostAt(1), lost);
});

test('a writer that dies between reserving and publishing leaves the ring as it was', () => {
  const memory = memoryOf();
  put(memory, new RingWriter(memory, 0, 0), 100, 1);
  const writer = new RingWriter(memory, 0, 0);
  const reader = new RingReader(memory, 0, 0);
  put(memory, writer, 50, 2);
  writer.publish(1);
  assert.ok(reader.next());
  assert.equal(reader.frame(), new Uint8Array(50).fill(2));
});

test.run();
