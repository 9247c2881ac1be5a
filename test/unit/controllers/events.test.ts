/** The number and lifetime of Events are bounded, whatever their source. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Registry } from '../../../src/api/store/registry.ts';
import { Store } from '../../../src/api/store/store.ts';
import type { EventObject } from '../../../src/api/types/objects.ts';
import { makeCluster } from '../../../src/controllers/cluster.ts';
import { type EventLimits, startEventExpiry } from '../../../src/controllers/events.ts';
import { eventually } from './test-cluster.ts';

function stage(limits: Partial<EventLimits>) {
  const store = new Store();
  const cluster = makeCluster(store, new Registry(store), () => {});
  const end = startEventExpiry(cluster, { most: 1000, lifetimeMs: 1e6, sweepMs: 1e6, now: () => 0, ...limits });
  const add = (name: string) =>
    store.insert({
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace: 'default' },
      involvedObject: {},
    } as unknown as EventObject);
  const names = () => store.list('Event').map(({ metadata }) => metadata.name);
  return { store, add, names, end };
}

test('beyond the limit, the events that occurred longest ago are removed first', () => {
  const { store, add, names, end } = stage({ most: 3 });
  const first = add('a');
  for (const name of ['b', 'c']) add(name);
  store.replace({ ...first, count: 2 }, first); // occurs again
  add('d');
  assert.equal(names(), ['a', 'c', 'd']);
  for (let i = 0; i < 100; i++) add(`e${i}`);
  assert.is(names().length, 3);
  end();
});

test('an event is removed when it has not occurred for its lifetime', async () => {
  let now = 0;
  const { add, names, end } = stage({ lifetimeMs: 60, sweepMs: 1, now: () => now });
  add('a');
  now = 45;
  add('b');
  now = 70;
  await eventually(() => names().join() === 'b');
  now = 106;
  await eventually(() => names().length === 0);
  end();
});

test('while the disk is full nothing is removed and nothing ends; afterwards the limits hold again', async () => {
  const { store, add, names, end } = stage({ most: 2, sweepMs: 1, lifetimeMs: -1 });
  const remove = store.remove.bind(store);
  store.remove = () => {
    throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  };
  for (const name of ['a', 'b', 'c']) add(name);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(names(), ['a', 'b', 'c']);
  store.remove = remove;
  await eventually(() => names().length === 0);
  end();
});

test.run();
