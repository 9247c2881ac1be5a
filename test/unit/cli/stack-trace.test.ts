/** Stack traces of the bundle refer to lines of the sources. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MAIN, ROOT } from '../../lib/cluster.ts';

const NOWHERE = { ...process.env, DATAPLANE_API: '/nonexistent/api.sock' };

function failed(env: NodeJS.ProcessEnv): string {
  const { status, stderr } = spawnSync(process.execPath, [MAIN, 'get', 'pods'], { encoding: 'utf8', env });
  assert.is(status, 1, stderr);
  return stderr;
}

test('DATAPLANE_DEBUG=1 adds a stack trace with lines of the sources', () => {
  const trace = failed({ ...NOWHERE, DATAPLANE_DEBUG: '1' });
  const [, file = '', line = ''] = /\/(src\/cli\/commands\/get\.ts):(\d+):\d+/.exec(trace) ?? [];
  assert.ok(file, trace);
  const source = readFileSync(join(ROOT, file), 'utf8').split('\n');
  assert.match(source[Number(line) - 1] ?? '', /await/);
});

test('without DATAPLANE_DEBUG an error is one line', () => {
  assert.is(
    failed({ ...NOWHERE, DATAPLANE_DEBUG: '' })
      .trim()
      .split('\n').length,
    1,
  );
});

test.run();
