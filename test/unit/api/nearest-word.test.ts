import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { nearestWord } from '../../../src/api/nearest-word.ts';

test('the nearest word is at most two edits away', () => {
  assert.is(nearestWord('gte', ['get', 'apply']), 'get');
  assert.is(nearestWord('frobnicate', ['get', 'apply']), undefined);
  assert.is(nearestWord('x', ['up']), undefined);
  assert.is(nearestWord('NodeName', ['nodeName', 'hostname']), 'nodeName');
  assert.is(nearestWord('ab', ['cd']), undefined);
});

test.run();
