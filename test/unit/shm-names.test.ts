/** Shared-memory names: what one process creates, others find. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { memoryName, memoryNames, nodesWith, ringNames, SHM_PREFIX } from '../../src/shm-names.ts';

test('each memory of a node has its own name, all with the prefix that tear-down removes', () => {
  const { outward, inward } = ringNames('n1', 'ipip', 0);
  const names = [...Object.values(memoryNames('n1')), outward, inward, ringNames('n1', 'ipip', 1).outward];
  assert.is(new Set(names).size, names.length);
  for (const name of names) assert.ok(name.startsWith(SHM_PREFIX), name);
});

test('the names are stable: an agent finds the connections of an agent of an earlier build', () => {
  assert.equal(memoryNames('n1'), {
    conntrack: 'dataplane-n1-conntrack',
    services: 'dataplane-n1-services',
    routes: 'dataplane-n1-routes',
    counters: 'dataplane-n1-counters',
    fragments: 'dataplane-n1-fragments',
    policies: 'dataplane-n1-policies',
    control: 'dataplane-n1-control',
    capture: 'dataplane-n1-capture',
  });
});

test('nodes with shared memory are found by its name alone', () => {
  const names = [
    memoryName('worker-2', 'conntrack'),
    memoryName('a-conntrack', 'conntrack'),
    memoryName('n1', 'services'),
    ringNames('n1', 'ipip', 0).inward,
    'dataplane--conntrack',
    'other-n3-conntrack',
  ];
  assert.equal(nodesWith('conntrack', names), ['a-conntrack', 'worker-2']);
  assert.equal(nodesWith('services', names), ['n1']);
  assert.equal(nodesWith('control', names), []);
});

test.run();
