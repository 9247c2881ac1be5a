/** Fuzzes the printers and the capture reader: any bytes, never an exception, and they always terminate. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MAX_CAPTURED_BYTES } from '../../native-free-dataplane/capture/frame.ts';
import { printBytes, printPacket } from '../../native-free-dataplane/print/frame.ts';
import { readCapture, writeCapture } from '../lib/frames/capture-file.ts';
import { viewOf } from '../lib/frames/frame-builder.ts';
import { type Mutant, mutate } from '../lib/frames/fuzz-mutations.ts';
import { seedFrames } from '../lib/fuzz-node.ts';
import { seededRandom } from '../lib/seeded-random.ts';

const SEED = Number(process.env.FUZZ_SEED ?? 20240611);
const FRAMES = Number(process.env.FUZZ_FRAMES ?? 100_000);
const CAPTURES = FRAMES / 10;
/** Upper limit for the line of one frame at the maximum nesting depth. */
const MAX_LINE = 4000;

const seeds = seedFrames();

function failure(index: number, bytes: Uint8Array, error: unknown): Error {
  const hex = Buffer.from(bytes.subarray(0, 4096)).toString('hex');
  return new Error(`seed ${SEED}, input ${index}, ${bytes.length} bytes:\n${hex}\n${(error as Error).stack}`);
}

test(`${FRAMES} frames are printed, whatever they contain`, () => {
  const random = seededRandom(SEED);
  const room = 4096;
  const buffer = new Uint8Array(room + 256);
  const mutant: Mutant = { bytes: buffer, view: viewOf(buffer), start: 0, end: 0 };
  for (let index = 0; index < FRAMES; index++) {
    const seed = seeds[random.below(seeds.length)]!.bytes.subarray(0, room);
    buffer.set(seed);
    mutant.end = seed.length;
    mutate(mutant, random, seeds, room);
    // In a buffer of its own: a read beyond the end leaves the buffer.
    const bytes = buffer.slice(0, mutant.end);
    try {
      const brief = random.below(2) === 0;
      const lines = [printBytes(bytes, brief)];
      if (bytes.length > 0) lines.push(printPacket(viewOf(bytes), Math.min(14, bytes.length), bytes.length, brief));
      for (const line of lines) assert.ok(line.length > 0 && line.length < MAX_LINE && !line.includes('\n'), line);
      for (const line of lines) assert.not.match(line, /undefined|NaN|\[object/);
    } catch (error) {
      throw failure(index, bytes, error);
    }
  }
});

/** A small valid capture of one of the formats. */
function capture(random: ReturnType<typeof seededRandom>): Uint8Array {
  const frames = Array.from({ length: 1 + random.below(5) }, (_, i) => ({
    bytes: seeds[random.below(seeds.length)]!.bytes.subarray(0, 200),
    seconds: 1_700_000_000 + i,
    nanoseconds: i * 1000,
  }));
  if (random.below(2) === 0) return writeCapture(frames);
  const block = (type: number, ...body: number[]): number[] => {
    const padded = [...body, ...new Array<number>((4 - (body.length % 4)) % 4).fill(0)];
    const words = (value: number) => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24];
    const total = words(padded.length + 12);
    return [...words(type), ...total, ...padded, ...total];
  };
  const word = (value: number) => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24];
  const section = block(0x0a0d0d0a, ...word(0x1a2b3c4d), 1, 0, 0, 0, ...word(-1), ...word(-1));
  const device = block(1, 1, 0, 0, 0, ...word(65535), 9, 0, 1, 0, 9, 0, 0, 0);
  const packets = frames.flatMap(({ bytes }) =>
    block(6, ...word(0), ...word(1), ...word(2), ...word(bytes.length), ...word(bytes.length), ...bytes),
  );
  return Uint8Array.from([...section, ...device, ...packets]);
}

test(`${CAPTURES} capture files are read as far as they are valid`, () => {
  const random = seededRandom(SEED + 1);
  let whole = 0;
  let damaged = 0;
  for (let index = 0; index < CAPTURES; index++) {
    const good = capture(random);
    const file = good.slice(0, random.below(4) === 0 ? random.below(good.length) : good.length);
    // Lengths and magic numbers are in the first bytes of each block: corrupt those.
    for (let n = random.below(4); n > 0 && file.length > 0; n--) {
      file[random.below(random.below(2) === 0 ? file.length : Math.min(file.length, 120))] = random.word();
    }
    try {
      const { frames, damage } = readCapture(file);
      if (damage === '') whole++;
      else damaged++;
      for (const { bytes, originalBytes, seconds, nanoseconds } of frames) {
        assert.ok(bytes.length <= Math.min(file.length, MAX_CAPTURED_BYTES));
        assert.ok(Number.isInteger(originalBytes) && originalBytes >= 0, `original ${originalBytes}`);
        assert.ok(Number.isFinite(seconds) && nanoseconds >= 0 && nanoseconds < 1e9, `${seconds}.${nanoseconds}`);
      }
      // What was read can be written and read back.
      assert.is(readCapture(writeCapture(frames)).frames.length, frames.length);
    } catch (error) {
      throw failure(index, file, error);
    }
  }
  assert.ok(whole > CAPTURES / 20 && damaged > CAPTURES / 20, `${whole} whole, ${damaged} damaged`);
});

test.run();
