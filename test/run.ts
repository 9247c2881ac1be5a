/**
 * Runs every test file under dist/test, each in a process of its own with a bounded time. Unit tests two at a time; tests
 * that bring up a cluster one after another, as root only, each in a private world (lib/private-world.sh), so that a
 * cluster that is up meanwhile is not disturbed. The last line is `N passed, N failed[, N skipped]`.
 *
 *   node dist/test/run.js [WORD…]    only files whose path contains one of the words
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT, whyNoCluster } from './lib/cluster.ts';

interface Result {
  passed: number;
  failed: number;
  skipped: number;
}

const BUILT = fileURLToPath(new URL('.', import.meta.url));
const SOURCE = join(ROOT, 'test');
const UNIT_TIMEOUT_MS = 120_000;
const E2E_TIMEOUT_MS = 300_000;
const AT_A_TIME = 2;

const total: Result = { passed: 0, failed: 0, skipped: 0 };
const running = new Set<ChildProcess>();
const words = process.argv.slice(2);
const files = (readdirSync(BUILT, { recursive: true }) as string[])
  // A test whose source is gone may still lie in dist.
  .filter((file) => file.endsWith('.test.js') && existsSync(join(SOURCE, file.replace(/\.js$/, '.ts'))))
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .sort();
const needsCluster = (file: string) => file.startsWith('e2e/');

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    for (const child of running) killGroup(child);
    process.exit(130);
  });
}

await runUnits(files.filter((file) => !needsCluster(file)));
await runClusters(files.filter(needsCluster));
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : '';
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);

async function runUnits(queue: string[]): Promise<void> {
  const take = async () => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift())
      await runFile(file, file.startsWith('package/') ? E2E_TIMEOUT_MS : UNIT_TIMEOUT_MS);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, take));
}

async function runClusters(queue: string[]): Promise<void> {
  const why = whyNoCluster();
  for (const file of queue) {
    if (why === undefined) {
      await runFile(file, E2E_TIMEOUT_MS);
    } else {
      total.skipped++;
      console.log(`skipped ${file}: ${why}`);
    }
  }
}

/** The command for a file: as it is, or inside a world of its own. */
function commandOf(file: string): [string, ...string[]] {
  const path = join(BUILT, file);
  if (!needsCluster(file)) return [process.execPath, '--enable-source-maps', path];
  return [join(SOURCE, 'lib/private-world.sh'), process.execPath, join(BUILT, 'lib/file-in-world.js'), path];
}

/** Runs one file; tells what failed, or one line when all is well. */
function runFile(file: string, timeoutMs: number): Promise<void> {
  const started = Date.now();
  return new Promise((resolve) => {
    const [program, ...rest] = commandOf(file);
    const child = spawn(program, rest, {
      cwd: ROOT,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, FORCE_COLOR: '0', NO_COLOR: '1' },
    });
    running.add(child);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      killGroup(child);
    }, timeoutMs);
    // 'exit', not 'close': a process left behind may hold the pipes open.
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      setTimeout(() => {
        running.delete(child);
        child.stdout.destroy();
        child.stderr.destroy();
        const why = late ? `not done after ${timeoutMs / 1000} s` : signal !== null ? `killed by ${signal}` : undefined;
        count(file, output, why, code ?? 1, Date.now() - started);
        resolve();
      }, 20);
    });
  });
}

function count(file: string, output: string, why: string | undefined, code: number, tookMs: number): void {
  const sum = (word: string) =>
    [...output.matchAll(new RegExp(`^\\s*${word}:\\s+(\\d+)`, 'gm'))].reduce((n, match) => n + Number(match[1]), 0);
  const [all, passed, skipped] = [sum('Total'), sum('Passed'), sum('Skipped')];
  // uvu does not count skipped tests among all.
  let failed = Math.max(0, all - passed);
  // Crashed, hung, or said nothing: something failed even when no test did.
  if (failed === 0 && (code !== 0 || why !== undefined || all + skipped === 0)) failed = 1;
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
  const name = relative(SOURCE, join(SOURCE, file));
  if (failed === 0) {
    console.log(`ok      ${name} (${passed}${skipped > 0 ? `, ${skipped} skipped` : ''}; ${tookMs} ms)`);
    for (const [reason] of output.matchAll(/^skipped: .*$/gm)) console.log(`        ${reason}`);
  } else {
    console.log(`FAILED  ${name}${why === undefined ? '' : `: ${why}`}\n${output.trimEnd()}`);
  }
}

function killGroup(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, 'SIGKILL');
  } catch {
    // It ended meanwhile.
  }
}
