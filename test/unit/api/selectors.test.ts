import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseFieldSelector, parseLabelSelector, SelectorError } from '../../../src/api/selectors.ts';
import type { KubeObject } from '../../../src/api/types/objects.ts';

const labelled = (labels: Record<string, string>) => ({ metadata: { name: 'x', labels } }) as unknown as KubeObject;

test('label selectors: equality, sets and existence as in Kubernetes; malformed ones are refused', () => {
  const rows: [string, Record<string, string>, boolean][] = [
    ['a=1', { a: '1' }, true],
    ['a==1', { a: '2' }, false],
    ['a!=1', {}, true],
    ['a', { a: '' }, true],
    ['!a', { a: '' }, false],
    ['a in (1, 2),b', { a: '2', b: 'x' }, true],
    ['a in (1,2)', {}, false],
    ['a notin (1,2)', {}, true],
    ['a notin (1,2)', { a: '1' }, false],
    ['x.y/z=1,a', { 'x.y/z': '1', a: '' }, true],
  ];
  for (const [text, labels, wanted] of rows) assert.is(parseLabelSelector(text)!(labelled(labels)), wanted, text);
  assert.is(parseLabelSelector(''), undefined);
  for (const text of ['a=1=2', 'a in 1', '=x']) {
    assert.throws(
      () => parseLabelSelector(text),
      (e: Error) => e instanceof SelectorError,
      text,
    );
  }
});

test('field selectors match the fields of a kind; an unknown field is refused', () => {
  const pod = { metadata: { name: 'x' }, spec: { nodeName: 'n1' }, status: {} } as unknown as KubeObject;
  assert.ok(parseFieldSelector('Pod', 'spec.nodeName=n1,metadata.name=x')!(pod));
  assert.not(parseFieldSelector('Pod', 'spec.nodeName!=n1')!(pod));
  assert.ok(parseFieldSelector('Pod', 'status.phase=')!(pod));
  assert.throws(
    () => parseFieldSelector('Pod', 'spec.foo=1'),
    (e: Error) => e instanceof SelectorError,
  );
});

test('an object without a boolean field is selected by false', () => {
  const selects = (text: string, object: object): boolean | undefined =>
    parseFieldSelector('Node', text)?.(object as never);
  assert.is(selects('spec.unschedulable=false', { metadata: { name: 'a' }, spec: {} }), true);
  assert.is(selects('spec.unschedulable!=true', { metadata: { name: 'a' } }), true);
  assert.is(selects('spec.unschedulable=false', { metadata: { name: 'a' }, spec: { unschedulable: true } }), false);
  assert.is(selects('spec.unschedulable=true', { metadata: { name: 'a' }, spec: { unschedulable: true } }), true);
});

test.run();
