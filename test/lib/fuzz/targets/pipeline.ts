/** Frames through the whole pipeline, from one node's first frame on. */
import { pick, type Random } from '../../seeded-random.ts';
import { CONFIGURATIONS, checkTables, FrameFuzzer } from '../frame-fuzzer.ts';
import type { FuzzTarget } from '../target.ts';

const configurations = Object.values(CONFIGURATIONS);

export const target: FuzzTarget = {
  name: 'pipeline',
  unit: 'frames',
  run(random: Random): number {
    const options = pick(random, configurations);
    // Long inputs fill tables and let things expire; short ones are easily changed.
    const frames = pick(random, [8, 64, 512, 4096]);
    const fuzzer = new FrameFuzzer(options, random);
    for (let index = 0; index < frames; index++) fuzzer.step(index);
    checkTables(fuzzer);
    return frames;
  },
};
