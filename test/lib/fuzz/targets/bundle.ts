/**
 * The bundled pipeline against the modules it is made from, frame by frame: same verdicts, same bytes sent. The bytes
 * behind the frames differ, so an outcome that depends on them differs as well: nothing may read beyond a frame.
 */
import * as bundled from 'dataplane/pipeline';
import * as modules from '../../../../native-free-dataplane/pipeline.ts';
import { pick, type Random } from '../../seeded-random.ts';
import { Choices } from '../choices.ts';
import { CONFIGURATIONS, FrameFuzzer } from '../frame-fuzzer.ts';
import type { FuzzTarget } from '../target.ts';

const configurations = Object.values(CONFIGURATIONS);

/** What became of each frame: the choices also decide how many there are. */
function outcomes(random: Random, pipeline: typeof modules | typeof bundled, behind: number): number[] {
  const options = pick(random, configurations);
  const frames = 1 + random.below(256);
  const fuzzer = new FrameFuzzer(options, random, pipeline as typeof modules, behind);
  for (let index = 0; index < frames; index++) fuzzer.step(index);
  return fuzzer.outcomes;
}

export const target: FuzzTarget = {
  name: 'bundle',
  unit: 'frames',
  run(random: Random): number {
    const recorded = random instanceof Choices ? random : new Choices(new Uint8Array(0), random);
    const first = outcomes(recorded, modules, 0);
    const second = outcomes(new Choices(recorded.drawnBytes), bundled, 0xa5);
    const at = first.findIndex((outcome, i) => outcome !== second[i]);
    if (at >= 0 || first.length !== second.length) throw new Error(`frame ${at}: the bundle does something else`);
    return 2 * first.length;
  },
};
