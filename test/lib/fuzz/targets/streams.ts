/**
 * Long streams of frames through the whole pipeline, for as many as possible: most of the time of short ones is spent on
 * making their nodes. 85,000 frames a second of processor time, of short ones 19,000.
 */
import { pick, type Random } from '../../seeded-random.ts';
import { CONFIGURATIONS, checkTables, FrameFuzzer } from '../frame-fuzzer.ts';
import type { FuzzTarget } from '../target.ts';

const FRAMES = 32_768;
/** Tables are checked as often: a fault is found near the frame that made it. */
const CHECKED_EVERY = 8192;
const configurations = Object.values(CONFIGURATIONS);

export const target: FuzzTarget = {
  name: 'streams',
  unit: 'frames',
  atFullSpeed: true,
  run(random: Random): number {
    const fuzzer = new FrameFuzzer(pick(random, configurations), random);
    for (let index = 0; index < FRAMES; index++) {
      fuzzer.step(index);
      if ((index + 1) % CHECKED_EVERY === 0) checkTables(fuzzer);
    }
    return FRAMES;
  },
};
