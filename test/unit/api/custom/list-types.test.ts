import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { duplicateItems } from '../../../../src/api/custom/list-types.ts';
import type { StructuralSchema } from '../../../../src/api/custom/structural.ts';

const port = {
  type: 'object',
  properties: { number: { type: 'integer' }, protocol: { type: 'string', default: 'TCP' } },
};
const schema: StructuralSchema = {
  type: 'object',
  properties: {
    tags: { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } },
    free: { type: 'array', items: { type: 'string' } },
    ports: {
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['number', 'protocol'],
      items: port,
    },
    groups: { type: 'object', additionalProperties: { type: 'array', 'x-kubernetes-list-type': 'set', items: {} } },
  },
};

const errors = (value: object) => duplicateItems(value, schema).map(({ path, message }) => `${path}: ${message}`);

test('an item of a set, or of a map by its keys, that is there twice is refused', () => {
  assert.equal(errors({ tags: ['a', 'b', 'a'] }), ['tags[2]: Duplicate value: "a"']);
  const ports = [{ number: 1 }, { number: 1, protocol: 'UDP' }, { number: 1, protocol: 'TCP' }];
  assert.equal(errors({ ports }), ['ports[2]: Duplicate value: {"number":1,"protocol":"TCP"}']);
});

test('objects are equal whatever the order of their fields, also in the values of maps', () => {
  const groups = {
    x: [
      { a: 1, b: 2 },
      { b: 2, a: 1 },
    ],
  };
  assert.equal(errors({ groups }), ['groups.x[1]: Duplicate value: {"b":2,"a":1}']);
});

test('other lists may repeat items', () => {
  assert.equal(errors({ free: ['a', 'a'], tags: ['a'], ports: [{ number: 1 }, { number: 2 }], odd: [1, 1] }), []);
});

test.run();
