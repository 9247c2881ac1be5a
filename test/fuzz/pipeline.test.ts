/**
 * Frames, most of them invalid, through nodes of every configuration for as long as one connection table lives
 * (lib/fuzz/frame-fuzzer.ts has the checks). `npm run fuzz` sends as many as you like.
 *
 *   FUZZ_FRAMES=10000000 FUZZ_SEED=7 node dist/test/fuzz/pipeline.test.js
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { verdictTotal } from '../../native-free-dataplane/shared/counters.ts';
import { MAX_VERDICTS, verdictName } from '../../native-free-dataplane/verdicts.ts';
import { CONFIGURATIONS, checkTables, FrameFuzzer } from '../lib/fuzz/frame-fuzzer.ts';
import { times } from '../lib/long-form.ts';
import { seededRandom } from '../lib/seeded-random.ts';

const FRAMES = Number(process.env.FUZZ_FRAMES ?? times(200_000, 2_000_000));
const SEED = Number(process.env.FUZZ_SEED ?? 20240611);

Object.entries(CONFIGURATIONS).forEach(([name, options], number) => {
  test(`${FRAMES / 4} frames through a node: ${name}, seed ${SEED + number}`, () => {
    const fuzzer = new FrameFuzzer(options, seededRandom(SEED + number));
    const { node } = fuzzer;
    for (let index = 0; index < FRAMES / 4; index++) fuzzer.step(index);

    const seen: Record<string, number> = {};
    for (let verdict = 0; verdict < MAX_VERDICTS; verdict++) {
      const total = verdictTotal(node.counters, verdict);
      if (total > 0) seen[verdictName(verdict)] = total;
    }
    if (process.env.FUZZ_SHOW) console.log(name, fuzzer.fed, fuzzer.refusedHeaders, seen);
    checkTables(fuzzer);
    // The generator is useless if no frame is ever forwarded.
    for (const verdict of ['forwarded', 'to-host', 'conntrack-invalid', 'offload-invalid', 'fragment-first-missing']) {
      assert.ok((seen[verdict] ?? 0) > FRAMES / 40_000, `${verdict}: ${seen[verdict]}`);
    }
    assert.ok(Object.keys(seen).length > 40, `${Object.keys(seen).length} verdicts`);
  });
});

test.run();
