/** The planning of faults and the search for the fewest that matter. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FAULT_KINDS, planFaults } from '../../lib/chaos/plan.ts';
import { outcomesOf } from '../../lib/chaos/run.ts';
import { shrinkFaults } from '../../lib/chaos/shrink.ts';

test('one seed gives one list, others give others, and together they have every kind', () => {
  assert.equal(planFaults(7, 60_000, ['n1', 'n2']), planFaults(7, 60_000, ['n1', 'n2']));
  assert.not.equal(planFaults(7, 60_000, ['n1', 'n2']), planFaults(8, 60_000, ['n1', 'n2']));
  const kinds = new Set(planFaults(1, 1_200_000, ['n1']).map(({ kind }) => kind));
  assert.equal(kinds, new Set(FAULT_KINDS));
});

test('faults do not overlap, and all are over at the end', () => {
  const faults = planFaults(3, 120_000, ['n1', 'n2']);
  faults.forEach(({ atMs, forMs }, i) => {
    assert.ok(atMs + forMs < (faults[i + 1]?.atMs ?? 120_001));
  });
});

test('a list is shrunk to the faults that make it fail, within the limit of runs', async () => {
  const faults = planFaults(5, 120_000, ['n1', 'n2']);
  const culprits = new Set([faults[3]!.seed, faults[17]!.seed]);
  let runs = 0;
  const fails = async (some: readonly { seed: number }[]) => {
    runs++;
    return some.filter(({ seed }) => culprits.has(seed)).length === 2;
  };
  const fewest = await shrinkFaults(faults, fails, 200);
  assert.equal(new Set(fewest.map(({ seed }) => seed)), culprits);
  runs = 0;
  await shrinkFaults(faults, fails, 5);
  assert.ok(runs <= 5);
});

test('a request that fails counts for the fault during which it began, not for that during which it is given up', () => {
  const [first, second] = planFaults(1, 60_000, ['n1']);
  const spans = [
    { fault: first!, from: 1000, to: 2000 },
    { fault: second!, from: 6000, to: 7000 },
  ];
  const failed = (from: number, at: number) => ({ event: 'failed', place: 'http', from, at, why: 'late' }) as const;
  const failures = (...events: ReturnType<typeof failed>[]) =>
    outcomesOf(spans, events).map(({ requestsFailed }) => requestsFailed);
  assert.equal(failures(failed(1500, 6500)), [1, 0], 'begun during the first, given up during the second');
  assert.equal(failures(failed(500, 5500)), [1, 0], 'begun before the first, and in vain');
  assert.equal(failures(failed(4000, 9000)), [0, 1], 'begun between them');
  assert.equal(failures(failed(9000, 9500)), [0, 0], 'after both');
  assert.equal(outcomesOf(spans, [failed(1500, 6500)])[0]!.reasons, ['http: late']);
});

test.run();
