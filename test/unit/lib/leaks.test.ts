/** What counts as growth in a run of `npm run leaks`. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { growth, type Held, quarters, trend } from '../../lib/leaks.ts';

const HELD: Held = {
  namespaces: 6,
  mounts: 30,
  processes: 20,
  sharedFiles: 16,
  descriptors: 240,
  residentMb: 400,
  threads: 37,
  storeBytes: 2_000_000,
};

test('one namespace, mount, process, shared file or thread more is growth; a few descriptors are not', () => {
  assert.equal(growth(HELD, HELD), []);
  for (const name of ['namespaces', 'mounts', 'processes', 'sharedFiles', 'threads'] as const)
    assert.equal(growth(HELD, { ...HELD, [name]: HELD[name] + 1 }), [`${name}: ${HELD[name]} to ${HELD[name] + 1}`]);
  assert.equal(growth(HELD, { ...HELD, descriptors: 248 }), []);
  assert.equal(growth(HELD, { ...HELD, descriptors: 249 }), ['descriptors: 240 to 249']);
});

test('memory and the store are flat if the last quarter of a run has at most a quarter more than the second', () => {
  const run = (perRound: number) =>
    Array.from({ length: 40 }, (_, i) => ({
      ...HELD,
      residentMb: 400 + i * perRound,
      storeBytes: i % 2 === 0 ? 9e6 : 1e6,
    }));
  assert.equal(trend(quarters(run(0))), []);
  assert.equal(trend(quarters(run(2))), []);
  assert.equal(trend(quarters(run(10))), ['residentMb: 550 in the second quarter, 750 in the last']);
  assert.is(quarters(run(10).slice(0, 19)), undefined, 'too short to show anything');
});

test.run();
