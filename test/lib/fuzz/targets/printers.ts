/** Frames are printed whatever they contain: one line, of bounded length, without a value that nobody meant to print. */
import { printBytes, printPacket } from '../../../../native-free-dataplane/print/frame.ts';
import { viewOf } from '../../frames/frame-builder.ts';
import { type Mutant, mutate } from '../../frames/fuzz-mutations.ts';
import { seedFrames } from '../../fuzz-node.ts';
import { pick, type Random } from '../../seeded-random.ts';
import type { FuzzTarget } from '../target.ts';

const ROOM = 4096;
/** Upper limit for the line of one frame at the maximum nesting depth. */
const MAX_LINE = 4000;
const seeds = seedFrames();
const buffer = new Uint8Array(ROOM + 256);

function one(random: Random): void {
  const seed = pick(random, seeds).bytes.subarray(0, ROOM);
  buffer.set(seed);
  const mutant: Mutant = { bytes: buffer, view: viewOf(buffer), start: 0, end: seed.length };
  mutate(mutant, random, seeds, ROOM);
  // In a buffer of its own: a read beyond the end leaves the buffer.
  const bytes = buffer.slice(0, mutant.end);
  const brief = random.below(2) === 0;
  const lines = [printBytes(bytes, brief)];
  if (bytes.length > 0) lines.push(printPacket(viewOf(bytes), Math.min(14, bytes.length), bytes.length, brief));
  for (const line of lines) {
    if (line.length === 0 || line.length >= MAX_LINE || /\n|undefined|NaN|\[object/.test(line)) throw new Error(line);
  }
}

export const target: FuzzTarget = {
  name: 'printers',
  unit: 'frames',
  run(random: Random): number {
    const frames = 1 + random.below(32);
    for (let index = 0; index < frames; index++) one(random);
    return frames;
  },
};
