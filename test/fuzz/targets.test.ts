/**
 * The short form of `npm run fuzz`: every input of the corpus, and then others at random for a moment, of every target
 * (lib/fuzz/targets.ts). A failure shows the command that repeats it.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readCorpus } from '../lib/fuzz/corpus.ts';
import { explore } from '../lib/fuzz/explore.ts';
import { minimise } from '../lib/fuzz/minimise.ts';
import { statuses } from '../lib/fuzz/targets/api.ts';
import { loadTarget, TARGET_NAMES } from '../lib/fuzz/targets.ts';
import { times } from '../lib/long-form.ts';

const SEED = Number(process.env.FUZZ_SEED ?? 20240611);
const MILLISECONDS = times(100, 2000);

for (const name of TARGET_NAMES) {
  const corpus = readCorpus(name);
  test(`${name}: ${corpus.length} inputs of the corpus and others at random, seed ${SEED}`, async () => {
    const target = await loadTarget(name);
    const end = performance.now() + MILLISECONDS;
    let asked = 0;
    // At least one input at random, however long the corpus took.
    const isOver = (): boolean => asked++ > 0 && performance.now() > end;
    const { inputs, units, failure } = await explore({ target, seed: SEED, corpus, isOver });
    if (failure !== undefined) {
      const input = Buffer.from(failure.input).toString('base64');
      assert.unreachable(
        `npm run fuzz -- --only ${name} --input FILE, where FILE contains ${input}\n${failure.message}`,
      );
    }
    assert.ok(inputs > corpus.length && units >= inputs / 2, `${inputs} inputs, ${units} ${target.unit}`);
  });
}

test('API requests are not only rejected, and rejected for different reasons', () => {
  for (const status of [200, 201, 400, 404, 405, 422])
    assert.ok(statuses.has(status), `no ${status}: ${[...statuses.keys()]}`);
});

test('a failing input is minimised to what makes it fail', async () => {
  const input = Uint8Array.from({ length: 500 }, (_, i) => (i === 250 ? 77 : 1 + (i % 60)));
  const small = await minimise(input, (candidate) => candidate.some((byte) => byte > 70));
  assert.equal([...small], [71]);
});

test.run();
