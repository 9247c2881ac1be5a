/** The launcher that scripts/link.sh writes: it starts our command with the node that was there when it was written. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ROOT } from '../lib/cluster.ts';

const test = suite('link.sh');
let directory: string;

test.before.each(() => {
  directory = mkdtempSync(join(tmpdir(), 'dataplane-link-'));
});

test.after.each(() => rmSync(directory, { recursive: true }));

/** Writes a launcher with this node as the first on the path. */
function link(launcher: string): { status: number | null; stdout: string; stderr: string } {
  const own = join(directory, 'bin of nvm');
  mkdirSync(own, { recursive: true });
  if (!existsSync(join(own, 'node'))) symlinkSync(process.execPath, join(own, 'node'));
  return spawnSync('sh', [join(ROOT, 'scripts/link.sh'), launcher], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${own}:${process.env.PATH}` },
  });
}

test('the command starts where no node is on the path, as under sudo', () => {
  const launcher = join(directory, "it's here", 'dataplane');
  assert.match(link(launcher).stdout, /works from any directory/);
  const bare = join(directory, 'bare');
  mkdirSync(bare);
  const ran = spawnSync(launcher, ['--version'], { encoding: 'utf8', cwd: bare, env: { PATH: bare } });
  assert.is(ran.stderr, '');
  assert.match(ran.stdout, /^dataplane \d/);
});

test('linking twice changes nothing and prints nothing; a link that npm left is replaced', () => {
  const launcher = join(directory, 'dataplane');
  symlinkSync('/nonexistent/cli/main.js', launcher);
  link(launcher);
  const text = readFileSync(launcher, 'utf8');
  assert.match(text, /bundle\/cli\/main\.js/);
  assert.equal(link(launcher).stdout, '');
  assert.is(readFileSync(launcher, 'utf8'), text);
});

test('an unrelated program of that name is not replaced', () => {
  const launcher = join(directory, 'dataplane');
  writeFileSync(launcher, '#!/bin/sh\n');
  const { status, stderr } = link(launcher);
  assert.is(status, 0);
  assert.match(stderr, /exists and was not written by this script/);
  assert.is(readFileSync(launcher, 'utf8'), '#!/bin/sh\n');
});

test.run();
