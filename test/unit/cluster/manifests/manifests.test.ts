import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ManifestError } from '../../../../src/cluster/errors.ts';
import { inOrder, parseManifests, readSources } from '../../../../src/cluster/manifests/manifests.ts';
import { checkPlacement } from '../../../../src/cluster/manifests/placement.ts';
import { warningLines } from '../../../../src/cluster/manifests/warnings.ts';

const test = suite('manifests');

const POD = `apiVersion: v1
kind: Pod
metadata:
  name: a
spec:
  containers:
  - name: c
    image: process
`;
const parse = (...texts: string[]) => parseManifests(texts.map((text, i) => ({ name: `f${i + 1}.yaml`, text })));

function complaint(...texts: string[]): string {
  try {
    parse(...texts);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('expected an error');
}

test('documents are numbered, including empty ones, and objects get the default namespace', () => {
  const documents = parse(`---\n# nothing\n---\n${POD}---\n${POD.replace('name: a', 'name: b')}`);
  assert.equal(
    documents.map(({ where }) => where),
    ['f1.yaml: document 2', 'f1.yaml: document 3'],
  );
  assert.is(documents[0]!.object.metadata.namespace, 'default');
});

test('JSON is read like YAML', () => {
  const json = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'm' }, data: { k: 'v' } });
  assert.is(parse(json)[0]!.object.kind, 'ConfigMap');
});

test('a List is expanded to its items, each with its position', () => {
  const item = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'm' } };
  const list = { apiVersion: 'v1', kind: 'List', items: [item, { ...item, metadata: { name: 'n' } }] };
  assert.equal(
    parse(JSON.stringify(list)).map(({ where }) => where),
    ['f1.yaml: document 1, item 1', 'f1.yaml: document 1, item 2'],
  );
});

test('an error for a wrong value has file, document, path, what was expected, and the value', () => {
  const service = `apiVersion: v1
kind: Service
metadata: {name: s}
spec: {ports: [{port: x}]}
`;
  assert.match(
    complaint(`${POD}---\n${service}`),
    /^f1\.yaml: document 2: spec\.ports\[0\]\.port: expected .*, got "x"$/,
  );
});

test('an unknown field is an error', () => {
  assert.match(
    complaint(POD.replace('spec:', 'spec:\n  contaners: []')),
    'f1.yaml: document 1: spec.contaners: unknown field',
  );
});

test('an unsupported field is a warning with its path', () => {
  const [document] = parse(POD.replace('spec:', 'spec:\n  runtimeClassName: high'));
  assert.match(
    warningLines([document!]).join('\n'),
    /^f1\.yaml: document 1: spec\.runtimeClassName: this field is not supported/,
  );
});

test('equal warnings about several objects are one line with their number', () => {
  const pods = ['a', 'b', 'c'].map((name) =>
    POD.replace('name: a', `name: ${name}`).replace('spec:', 'spec:\n  runtimeClassName: high'),
  );
  const lines = warningLines(parse(...pods));
  assert.is(lines.length, 1);
  assert.match(lines[0]!, /^spec\.runtimeClassName: this field .* \(3 times, first in f1\.yaml: document 1\)$/);
  const other = POD.replace('name: a', 'name: d').replace('spec:', 'spec:\n  hostUsers: false');
  assert.is(warningLines(parse(pods[0]!, other)).length, 2, 'different fields stay apart');
});

test('every mistake is reported separately, so that each is printed on its own line', () => {
  try {
    parse(POD.replace('spec:', 'spec:\n  contaners: []\n  restartPolice: x'), POD.replace('kind: Pod', 'kind: Gadget'));
    assert.unreachable();
  } catch (error) {
    assert.instance(error, ManifestError);
    assert.is((error as ManifestError).problems.length, 3);
  }
});

test('an error for invalid YAML has line and column', () => {
  assert.match(complaint(`${POD}---\na: [1\n`), /^f1\.yaml: document 2: line \d+, column \d+: /);
});

test('two objects with the same name, also in different files, are an error with both positions', () => {
  assert.is(complaint(POD, POD), 'f2.yaml: document 1: Pod a is already in f1.yaml: document 1');
});

test('a duplicate key in a mapping is an error', () => {
  assert.match(complaint(POD.replace('kind: Pod', 'kind: Pod\nkind: Pod')), 'Map keys must be unique');
});

test('the error message contains all mistakes', () => {
  const text = complaint(POD.replace('name: c', 'nam: c'), POD.replace('kind: Pod', 'kind: Pot'));
  assert.match(text, 'f1.yaml: document 1');
  assert.match(text, 'f2.yaml: document 1: kind: unknown kind "Pot"; did you mean "Pod"?');
  assert.not.match(text, /\n/);
});

test('exponential expansion of YAML aliases is refused', () => {
  const bomb = [
    'a: &a [x,x,x,x,x,x,x,x,x]',
    ...'bcdefgh'.split('').map((k, i) => `${k}: &${k} [${Array(9).fill(`*${'abcdefgh'[i]}`)}]`),
  ];
  assert.match(complaint(`${bomb.join('\n')}\n`), 'f1.yaml: document 1: ');
});

test('documents are ordered: namespaces, configuration, services, and pods last', () => {
  const kinds = ['Pod', 'Service', 'ConfigMap', 'Namespace'].map((kind) => {
    const object = { apiVersion: 'v1', kind, metadata: { name: 'x' } } as never;
    return { where: '', object, warnings: [] };
  });
  assert.equal(
    inOrder(kinds).map(({ object }) => object.kind),
    ['Namespace', 'ConfigMap', 'Service', 'Pod'],
  );
});

test('the manifests of a directory are read in order of name, subdirectories only with -R', () => {
  const directory = mkdtempSync(join(tmpdir(), 'manifests-'));
  try {
    mkdirSync(join(directory, 'sub'));
    for (const name of ['b.yaml', 'a.json', 'notes.txt', 'sub/c.yml']) writeFileSync(join(directory, name), '');
    const names = (recursive: boolean) =>
      readSources([directory], recursive).map(({ name }) => name.slice(directory.length + 1));
    assert.equal(names(false), ['a.json', 'b.yaml']);
    assert.equal(names(true), ['a.json', 'b.yaml', 'sub/c.yml']);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('an error for a missing file has its name', () => {
  assert.throws(() => readSources(['/nowhere/x.yaml']), '/nowhere/x.yaml: no such file or directory');
});

test('a pod with a node or a namespace that will not exist is refused before anything is done', () => {
  const nodes = [{ name: 'n1', ip: '172.18.0.11', podCIDR: '10.244.1.0/24' }];
  assert.throws(
    () => checkPlacement(parse(POD.replace('spec:', 'spec:\n  nodeName: n7')), nodes),
    'f1.yaml: document 1: spec.nodeName: there will be no node "n7", only n1',
  );
  assert.throws(
    () => checkPlacement(parse(POD.replace('name: a', 'name: a\n  namespace: shop')), nodes),
    'there is no namespace "shop"',
  );
});

test.run();
