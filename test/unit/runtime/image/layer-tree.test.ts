import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeOpaque, makeWhiteout } from '../../../../src/linux/special-files.ts';
import { LayerTree } from '../../../../src/runtime/image/layer-tree.ts';
import { testUnless, whyNoRoot } from '../../../lib/test-unless.ts';

const test = suite('layer tree');
const store = mkdtempSync(join(tmpdir(), 'dp-layers-'));
test.after(() => rmSync(store, { recursive: true }));

function write(path: string, text: string): void {
  mkdirSync(dirname(join(store, path)), { recursive: true });
  writeFileSync(join(store, path), text);
}

write('low/etc/passwd', 'low');
write('low/etc/group', 'low group');
write('low/data/file', 'low data');
write('high/etc/group', 'high group');
const tree = new LayerTree(store, ['high', 'low']);
const read = (path: string): string => tree.readText(path, 1000);

test('the uppermost layer that has a file provides it; directories are merged', () => {
  assert.is(read('/etc/group'), 'high group');
  assert.is(read('/etc/passwd'), 'low');
  assert.is(read('/etc/shadow'), '');
  assert.is(read('/etc'), '');
});

test('at most the given number of bytes is read', () => {
  assert.is(tree.readText('/etc/group', 4), 'high');
});

test('links are followed inside the image, across layers, and never out of it', () => {
  mkdirSync(join(store, 'high/links'), { recursive: true });
  const link = (name: string, target: string) => symlinkSync(target, join(store, 'high/links', name));
  link('absolute', '/etc/passwd');
  link('relative', '../etc/passwd');
  link('above', '../../../../../../etc/passwd');
  link('directory', '/etc');
  link('loop', 'loop');
  for (const name of ['absolute', 'relative', 'above', 'directory/passwd'])
    assert.is(read(`/links/${name}`), 'low', name);
  assert.is(tree.find('/links/directory/new').path, '/etc/new');
  assert.throws(() => read('/links/loop'), 'too many levels of symbolic links');
});

test('a file hides a directory of the layers below, and a directory a file', () => {
  write('top/data', 'a file');
  write('top/etc/passwd/inner', 'inner');
  const three = new LayerTree(store, ['top', 'high', 'low']);
  assert.is(three.readText('/data', 100), 'a file');
  assert.is(three.readText('/data/file', 100), '');
  assert.is(three.readText('/etc/passwd', 100), '');
  assert.is(three.readText('/etc/passwd/inner', 100), 'inner');
});

testUnless(whyNoRoot(), test)('whiteouts and opaque directories hide what is below', () => {
  mkdirSync(join(store, 'white/etc'), { recursive: true });
  makeWhiteout(join(store, 'white/etc/passwd'));
  mkdirSync(join(store, 'white/data'));
  makeOpaque(join(store, 'white/data'));
  const white = new LayerTree(store, ['white', 'high', 'low']);
  assert.is(white.readText('/etc/passwd', 100), '');
  assert.is(white.readText('/etc/group', 100), 'high group');
  assert.is(white.readText('/data/file', 100), '');
});

test.run();
