/** How bundled programs start (src/start): the code that V8 saved for them, and stack traces that name the sources. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { scriptOf } from '../../../src/start/start.ts';
import { ROOT } from '../../lib/cluster.ts';

const test = suite('start of programs');
const BUNDLE = join(ROOT, 'dist/bundle');
const PROGRAMS = ['commands', 'agent', 'controller']
  .map((name) => `cli/${name}.js`)
  .concat(['worker', 'standby', 'launcher', 'cni'].map((name) => `${name}/program.js`));

test('V8 accepts the saved code of every program', () => {
  for (const program of PROGRAMS) assert.is(scriptOf(join(BUNDLE, program)).cachedDataRejected, false, program);
});

/** The command of a copy of the bundle in which `change` was made. */
function runChanged(change: (cli: string) => void, ...args: string[]): { status: number | null; stderr: string } {
  const directory = mkdtempSync(join(tmpdir(), 'dataplane-start-'));
  try {
    const cli = join(directory, 'dist/bundle/cli');
    for (const part of ['cli', 'start'])
      cpSync(join(BUNDLE, part), join(directory, 'dist/bundle', part), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
    change(cli);
    const env = { ...process.env, DATAPLANE_DEBUG: '1' };
    return spawnSync(process.execPath, [join(cli, 'main.js'), ...args], { encoding: 'utf8', env });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

for (const [what, change] of [
  ['without its saved code', (file: string) => rmSync(file)],
  [
    'with code of another version of V8',
    (file: string) => {
      const code = readFileSync(file);
      // SerializedCodeData: the hash of the version follows the magic number (v8/src/snapshot/code-serializer.h).
      code.writeUInt32LE((code.readUInt32LE(4) ^ 1) >>> 0, 4);
      writeFileSync(file, code);
    },
  ],
] as const) {
  test(`a program ${what} runs, and says nothing about it`, () => {
    const { status, stderr } = runChanged((cli) => change(join(cli, 'commands.code')), '--help');
    assert.is(status, 0);
    assert.is(stderr, '');
  });
}

test('stack traces name files and lines of the TypeScript sources', () => {
  const main = join(BUNDLE, 'cli/main.js');
  const env = { ...process.env, DATAPLANE_DEBUG: '1' };
  const { stderr } = spawnSync(process.execPath, [main, 'get'], { encoding: 'utf8', env });
  const [, file, line] = /at main \((.*\/src\/cli\/main\.ts):(\d+):\d+\)/.exec(stderr) ?? [];
  assert.is(file, join(ROOT, 'src/cli/main.ts'), stderr);
  assert.match(readFileSync(file!, 'utf8').split('\n')[Number(line) - 1]!, /command\.run\(/);
});

test('without its map, a stack trace names the bundle', () => {
  const { stderr } = runChanged((cli) => rmSync(join(cli, 'commands.js.map')), 'get');
  assert.match(stderr, /at main \(.*\/cli\/commands\.js:\d+:\d+\)/);
});

test.run();
