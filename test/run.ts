/**
 * Runs every test file under dist/test, each in a process of its own with a bounded time, three at a time. Tests that
 * bring up a cluster need root, and each gets namespaces of its own (lib/private-namespaces.sh), so that neither
 * another test nor a cluster of the user's is disturbed. Two of them run at once, beside a file without a cluster, and a
 * third when those are done: they wait for a part of their time. Those that measure time run alone (ALONE).
 *
 * Many tests bound how long something may take, and a busy machine breaks such bounds. A file that failed is therefore
 * run once more at the end, alone. If it passes then, it counts as passed and is listed as flaky; if not, both runs are
 * shown. The last line is `N passed, N failed[, N skipped]`.
 *
 *   node dist/test/run.js [WORD…]    only files whose path contains one of the words
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
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
const CLUSTERS_AT_A_TIME = 2;
/** Files that measure rates and gaps. */
const ALONE = ['crash-and-clean-up', 'services-rolling', 'underlay-shortcut'];

interface Run extends Result {
  readonly file: string;
  readonly output: string;
  /** Why it ended early, if it did. */
  readonly why?: string;
  readonly tookMs: number;
}

const total: Result = { passed: 0, failed: 0, skipped: 0 };
const running = new Set<ChildProcess>();
const words = process.argv.slice(2);
const files = (readdirSync(BUILT, { recursive: true }) as string[])
  // A test whose source is gone may still lie in dist.
  .filter((file) => file.endsWith('.test.js') && existsSync(join(SOURCE, file.replace(/\.js$/, '.ts'))))
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .sort();
const needsCluster = (file: string) => file.startsWith('e2e/') || file.startsWith('cluster/');

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    for (const child of running) killGroup(child);
    process.exit(130);
  });
}

const why = whyNoCluster();
const queue = files.filter((file) => why === undefined || !needsCluster(file));
const failures: Run[] = [];
const alone = (file: string) => ALONE.some((name) => file === `e2e/${name}.test.js`);
const clusters = queue.filter((file) => needsCluster(file) && !alone(file));
const others = queue.filter((file) => !needsCluster(file));
const lanes = Array.from({ length: CLUSTERS_AT_A_TIME }, async () => {
  await runAll(clusters);
  await runAll(others);
});
// When the others are done, a third cluster runs in their place: most of these files wait more than they work.
await Promise.all([...lanes, runAll(others).then(() => runAll(clusters))]);
await runAll(queue.filter(alone));
const flaky: Run[] = [];
for (const first of failures) {
  const second = await runFile(first.file);
  if (second.failed === 0) flaky.push(first);
  else report(second);
  add(second);
}
for (const run of flaky) console.log(`flaky   ${run.file}: failed at first, and passed when it was run again alone`);
for (const file of files.filter((file) => !queue.includes(file))) {
  total.skipped++;
  console.log(`skipped ${file}: ${why}`);
}
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : '';
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);

/** Runs the files of the queue one after the other; those that fail are shown and kept for a second run. */
async function runAll(queue: string[]): Promise<void> {
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const run = await runFile(file);
    report(run);
    if (run.failed > 0) failures.push(run);
    else add(run);
  }
}

function add({ passed, failed, skipped }: Result): void {
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
}

/** The command for a file: as it is, or in private namespaces. */
function commandOf(file: string): [string, ...string[]] {
  const path = join(BUILT, file);
  if (!needsCluster(file)) return [process.execPath, '--enable-source-maps', path];
  return [join(SOURCE, 'lib/private-namespaces.sh'), process.execPath, join(BUILT, 'lib/file-in-namespaces.js'), path];
}

/** Runs one file to its end, or until its time is over. */
function runFile(file: string): Promise<Run> {
  const started = Date.now();
  const timeoutMs = needsCluster(file) || file.startsWith('package/') ? E2E_TIMEOUT_MS : UNIT_TIMEOUT_MS;
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
        resolve(countTests(file, output, why, code ?? 1, Date.now() - started));
      }, 20);
    });
  });
}

/** Adds up what uvu printed of each suite in the file. */
function countTests(file: string, output: string, why: string | undefined, code: number, tookMs: number): Run {
  const sum = (word: string) =>
    [...output.matchAll(new RegExp(`^\\s*${word}:\\s+(\\d+)`, 'gm'))].reduce((n, match) => n + Number(match[1]), 0);
  const [all, passed, skipped] = [sum('Total'), sum('Passed'), sum('Skipped')];
  // uvu does not count skipped tests among all.
  let failed = Math.max(0, all - passed);
  // Crashed, hung, or printed no result: something failed even when no test did.
  if (failed === 0 && (code !== 0 || why !== undefined || all + skipped === 0)) failed = 1;
  return { file, output, tookMs, passed, failed, skipped, ...(why === undefined ? {} : { why }) };
}

/** One line for a file that passed, with the reason of each skip; the whole output of one that failed. */
function report({ file, output, why, tookMs, passed, failed, skipped }: Run): void {
  if (failed > 0) {
    console.log(`FAILED  ${file}${why === undefined ? '' : `: ${why}`}\n${output.trimEnd()}`);
    return;
  }
  console.log(`ok      ${file} (${passed}${skipped > 0 ? `, ${skipped} skipped` : ''}; ${tookMs} ms)`);
  for (const [reason] of output.matchAll(/^skipped: .*$/gm)) console.log(`        ${reason}`);
}

function killGroup(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, 'SIGKILL');
  } catch {
    // It ended meanwhile.
  }
}
