/** Files are replaced as a whole. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { replaceFile } from '../../../src/linux/replace-file.ts';

const directory = mkdtempSync(join(tmpdir(), 'dataplane-test-'));
test.after(() => rmSync(directory, { recursive: true }));

test('the file has the new content and mode, whatever an earlier attempt has left', () => {
  const path = join(directory, 'a');
  writeFileSync(path, 'before');
  writeFileSync(`${path}.new`, 'a longer text of an attempt that was interrupted');
  chmodSync(`${path}.new`, 0o666);
  replaceFile(path, 'after', { flush: true });
  assert.is(readFileSync(path, 'utf8'), 'after');
  assert.is(statSync(path).mode & 0o777, 0o600);
  replaceFile(path, 'again', { mode: 0o755 });
  assert.is(statSync(path).mode & 0o777, 0o755);
  assert.not(existsSync(`${path}.new`));
});

test('a file that cannot be written stays as it is', () => {
  const path = join(directory, 'none/b');
  assert.throws(() => replaceFile(path, 'text'), /ENOENT/);
  assert.not(existsSync(path));
});

test.run();
