/** The copy of the CNI plugin for machines without Node. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { copiesIn, copyProgram } from '../../../../src/agent/cni/program-copy.ts';
import { MAIN } from '../../../lib/cluster.ts';

const PLUGIN = join(dirname(dirname(MAIN)), 'cni/main.js');
const programs = mkdtempSync(join(tmpdir(), 'dataplane-copy-'));
test.after(() => rmSync(programs, { recursive: true }));

test('the copy runs by itself: all paths of its command are in the copy, and its libraries come from there', () => {
  const command = copyProgram(programs, PLUGIN);
  for (const path of command.filter((word) => word.startsWith('/')))
    assert.ok(path.startsWith(copiesIn(programs)), path);
  const [program, ...args] = command as [string, ...string[]];
  const env = { CNI_COMMAND: 'VERSION', LD_DEBUG: 'libs', LD_DEBUG_OUTPUT: join(programs, 'libs') };
  const printed = execFileSync(program, args, { env, input: '{}', encoding: 'utf8' });
  assert.ok((JSON.parse(printed) as { supportedVersions: string[] }).supportedVersions.includes('1.1.0'));
  const report = readdirSync(programs).find((name) => name.startsWith('libs.'));
  // Of musl's loader there is no report.
  if (report === undefined) return;
  const used = execFileSync('grep', ['calling init:', join(programs, report)], { encoding: 'utf8' });
  const elsewhere = used
    .split('\n')
    .map((line) => /calling init: (\/.*\.so.*)/.exec(line)?.[1])
    .filter((path) => path !== undefined && !path.startsWith(copiesIn(programs)));
  assert.equal(elsewhere, []);
});

test('a copy that is there is used again; of the others the newest stays, for plugins that are just starting', () => {
  const [older, newer] = ['older', 'newer'].map((name) => join(copiesIn(programs), name)) as [string, string];
  for (const [path, time] of [
    [older, 1000],
    [newer, 2000],
  ] as const) {
    mkdirSync(path);
    utimesSync(path, time, time);
  }
  const first = copyProgram(programs, PLUGIN);
  assert.equal(copyProgram(programs, PLUGIN), first);
  assert.not(existsSync(older));
  assert.ok(existsSync(newer));
});

test.run();
