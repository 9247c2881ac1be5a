/** How bundled programs start (src/start): the code that V8 saved for them, and stack traces that name the sources. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ROOT } from '../../lib/cluster.ts';

const test = suite('start of programs');
const BUNDLE = join(ROOT, 'dist/bundle');
const PROGRAMS = ['commands', 'agent', 'controller']
  .map((name) => `cli/${name}.js`)
  .concat(['standby', 'launcher', 'cni'].map((name) => `${name}/program.js`));

/** Prints which of these files V8 has no use for, in a process with its default flags: tests beside this one change them. */
const REJECTED = `
const { scriptOf } = require(process.argv[1]);
const rejected = (programs) => programs.filter((program) => scriptOf(program).cachedDataRejected !== false);
console.log(JSON.stringify(rejected(process.argv.slice(2))));`;

/** The same in a thread of a process that forwards, as an agent starts its workers. */
const REJECTED_BY_THREAD = `
const { Worker } = require('node:worker_threads');
const [, start, worker, limits] = process.argv;
import(limits).then(({ raiseInliningLimits }) => {
  raiseInliningLimits();
  // A thread's arguments follow the program and '[worker eval]'.
  new Worker(${JSON.stringify(REJECTED.replace('[1]', '[2]').replace('slice(2)', 'slice(3)'))}, { eval: true, argv: [start, worker] });
});`;

function outputOf(script: string, ...args: string[]): unknown {
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', script, ...args], { encoding: 'utf8' });
  assert.is(stderr, '');
  return JSON.parse(stdout);
}

test('V8 accepts the saved code of every program', () => {
  const programs = PROGRAMS.map((program) => join(BUNDLE, program));
  assert.equal(outputOf(REJECTED, join(BUNDLE, 'start/main.js'), ...programs), []);
});

test('V8 accepts the saved code of the worker in every thread of an agent', () => {
  const limits = pathToFileURL(join(ROOT, 'dist/src/worker/inlining.js')).href;
  const paths = [join(BUNDLE, 'start/main.js'), join(BUNDLE, 'worker/program.js')] as const;
  assert.equal(outputOf(REJECTED_BY_THREAD, ...paths, limits), []);
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
