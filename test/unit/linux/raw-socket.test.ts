/** The optional package raw-socket: the error message of `up` if it is missing. No cluster is brought up here. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MAIN } from '../../lib/cluster.ts';

for (const [what, code, message] of [
  ['without the package', 'MODULE_NOT_FOUND', 'not installed'],
  ['with one compiled for another Node', 'ERR_DLOPEN_FAILED', `does not fit Node ${process.version}`],
]) {
  test(`\`up --overlay ipip\` ${what}: one line that says what to do`, () => {
    const directory = mkdtempSync(join(tmpdir(), 'dataplane-test-'));
    try {
      const hide = join(directory, 'hide.cjs');
      writeFileSync(
        hide,
        `const Module = require('node:module'); const resolve = Module._resolveFilename;
       Module._resolveFilename = function (name, ...rest) {
         if (name === 'raw-socket') throw Object.assign(new Error('The module\\nwas'), { code: '${code}' });
         return resolve.call(this, name, ...rest);
       };`,
      );
      const words = ['--require', hide, MAIN, 'up', '--overlay', 'ipip'];
      const { status, stdout, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' });
      assert.is(status, 1);
      assert.is(stdout, '');
      assert.match(stderr, /^[^\n]*raw-socket[^\n]*npm install raw-socket[^\n]*npm rebuild[^\n]*\n$/);
      assert.ok(stderr.includes(message!), stderr);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
}

test.run();
