import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RESOURCES } from '../../../../src/api/resources.ts';
import { needResource, readOperands } from '../../../../src/cli/args/kinds.ts';

const test = suite('names of kinds');

test('a kind has its singular, plural, short and CamelCase names', () => {
  for (const word of ['po', 'pod', 'pods', 'Pod']) assert.is(needResource(word).kind, 'Pod', word);
});

test('an unknown kind is refused, and a similar name is proposed', () => {
  assert.throws(() => needResource('podz'), 'there is no kind "podz": did you mean pods?');
  assert.throws(() => needResource('gadgets'), 'there is no kind "gadgets": expected one of ');
});

test('all means the kinds of the category, as in kubectl get all', () => {
  const kinds = readOperands(['all']).resources.map(({ kind }) => kind);
  for (const kind of ['Pod', 'Service', 'Deployment', 'ReplicaSet', 'StatefulSet', 'DaemonSet', 'Job', 'CronJob']) {
    assert.ok(kinds.includes(kind as (typeof kinds)[number]), kind);
  }
  assert.is(kinds.length, RESOURCES.filter(({ categories }) => categories.includes('all')).length);
});

test('operands are kinds, a kind with names, or KIND/NAME', () => {
  assert.equal(
    readOperands(['svc,ep']).resources.map(({ kind }) => kind),
    ['Service', 'Endpoints'],
  );
  const named = (...operands: string[]) =>
    readOperands(operands).objects.map(({ resource, name }) => `${resource.kind} ${name}`);
  assert.equal(named('pod', 'a', 'b'), ['Pod a', 'Pod b']);
  assert.equal(named('pod/a', 'svc/b'), ['Pod a', 'Service b']);
  assert.throws(() => named('pod/a', 'b'), '"b": expected KIND/NAME, such as pod/mc3');
});

test.run();
