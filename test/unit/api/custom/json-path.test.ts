import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { valuesAt } from '../../../../src/api/custom/json-path.ts';

const object = {
  spec: { size: 3, 'odd.name': 'x', list: [{ a: 1 }, { a: 2 }] },
  status: {
    conditions: [
      { type: 'Ready', status: 'True' },
      { type: 'Old', status: 'False' },
    ],
  },
};

test('JSONPath of printer columns: members, quoted members, indexes, wildcards, filters', () => {
  const rows: [string, unknown[]][] = [
    ['.spec.size', [3]],
    [".spec['odd.name']", ['x']],
    ['.spec.list[1].a', [2]],
    ['.spec.list[*].a', [1, 2]],
    ['.status.conditions[?(@.type=="Ready")].status', ['True']],
    [".status.conditions[?(@.type=='Gone')].status", []],
    ['.spec.nothing.at.all', []],
    ['.spec.size.toString', []],
    ['{.spec}', []],
  ];
  for (const [path, values] of rows) assert.equal(valuesAt(object, path), values, path);
});

test.run();
