/**
 * Runs every test file under dist/test, each with a bounded time. Tests that bring up a cluster need root, and each file gets
 * namespaces of its own (lib/private-namespaces.sh), so that neither another test nor a cluster of the user's is disturbed.
 * The longest begin (lib/test-run/durations.json), and another one whenever the processors have time to spare: many wait more
 * than they work. The other files run beside them in one process, with what time these leave. Those that measure time run
 * alone (ALONE).
 *
 * Many tests bound how long something may take, and a busy machine breaks such bounds. A file that failed is therefore
 * run once more at the end, alone. If it passes then, it counts as passed and is listed as flaky; if not, both runs are
 * shown. The last line is `N passed, N failed[, N skipped]`.
 *
 *   node dist/test/run.js [--record] [WORD…]    only files whose path contains one of the words
 */
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ROOT, whyNoCluster } from './lib/cluster.ts';
import { times } from './lib/long-form.ts';
import { recordDurations, seconds, secondsOf } from './lib/test-run/durations.ts';
import { type Counts, endAll, type FileRun, type Places, TestProcess } from './lib/test-run/file-run.ts';
import { SpareTime } from './lib/test-run/spare-time.ts';

const BUILT = fileURLToPath(new URL('.', import.meta.url));
const SOURCE = join(ROOT, 'test');
const PLACES: Places = { root: ROOT, built: BUILT, source: SOURCE };
const TIMEOUT_MS = times(300_000, 1_800_000);
const PROCESSORS = availableParallelism();
/** Files with clusters at a time, however little they do. */
const MAX_CLUSTERS = 3 * PROCESSORS;
/** One more begins when so much of the processors' time was spare. */
const SPARE_SHARE = 0.2;
/** After that, until it is judged anew: for about so long a cluster starts. */
const START_MS = 3000;
/** Files that measure rates and gaps. */
const ALONE = ['continuity', 'services-rolling', 'underlay-shortcut'];

const total: Counts = { passed: 0, failed: 0, skipped: 0 };
const record = process.argv[2] === '--record';
const words = process.argv.slice(record ? 3 : 2);
const files = (readdirSync(BUILT, { recursive: true }) as string[])
  // A test whose source is gone may still lie in dist.
  .filter((file) => file.endsWith('.test.js') && existsSync(join(SOURCE, file.replace(/\.js$/, '.ts'))))
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .sort((a, b) => secondsOf(b) - secondsOf(a) || (a < b ? -1 : 1));
const needsCluster = (file: string) => file.startsWith('e2e/') || file.startsWith('cluster/');

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    endAll();
    process.exit(130);
  });
}

const why = whyNoCluster();
const queue = files.filter((file) => why === undefined || !needsCluster(file));
const alone = (file: string) => ALONE.some((name) => file === `e2e/${name}.test.js`);
const clusters = queue.filter((file) => needsCluster(file) && !alone(file));
const others = queue.filter((file) => !needsCluster(file));
const runs: FileRun[] = [];
const failures: FileRun[] = [];

await Promise.all([runClusters(clusters), ...lanesOf(others, clusters.length > 0)]);
for (const file of queue.filter(alone)) finished(await runOne(file));
const flaky: FileRun[] = [];
for (const first of failures) {
  const second = await runOne(first.file);
  if (second.failed === 0) flaky.push(first);
  else report(second);
  add(second);
}
for (const run of flaky) console.log(`flaky   ${run.file}: failed at first, and passed when it was run again alone`);
for (const file of files.filter((file) => !queue.includes(file))) {
  total.skipped++;
  console.log(`skipped ${file}: ${why}`);
}
if (record) recordDurations(runs);
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : '';
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
console.log(`${seconds(runs.reduce((sum, run) => sum + run.processorMs, 0))} s of processor`);
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);

/** Runs as many files at once as there are processors, and more while these have time to spare. */
async function runClusters(queue: string[]): Promise<void> {
  const lanes = new Set<Promise<void>>();
  const spare = new SpareTime();
  const start = (): void => {
    const file = queue.shift();
    if (file === undefined) return;
    const lane = runOne(file).then((run) => {
      lanes.delete(lane);
      finished(run);
    });
    lanes.add(lane);
  };
  for (let judgedMs = 0; queue.length > 0 || lanes.size > 0; ) {
    while (queue.length > 0 && lanes.size < PROCESSORS) start();
    if (performance.now() - judgedMs >= START_MS) {
      judgedMs = performance.now();
      if (spare.share() > SPARE_SHARE && lanes.size < MAX_CLUSTERS) start();
    }
    await Promise.race([...lanes, sleep(START_MS)]);
  }
}

/** Processes that run the files of one queue: one beside clusters, else as many as keep the processors busy. */
function lanesOf(queue: string[], beside: boolean): Promise<void>[] {
  return Array.from({ length: beside ? 1 : PROCESSORS + 1 }, async () => {
    const start = () => (beside ? TestProcess.forMany(PLACES).lowerPriority() : TestProcess.forMany(PLACES));
    let process = start();
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      if (!process.isAlive) process = start();
      finished(await process.run(PLACES, file, TIMEOUT_MS));
    }
    const open = await process.close();
    if (open !== undefined) console.log(`the process of the files without clusters did not end by itself:\n${open}`);
  });
}

/** Runs a file in a process of its own. */
async function runOne(file: string): Promise<FileRun> {
  if (needsCluster(file)) return TestProcess.inNamespaces(PLACES, file).run(PLACES, file, TIMEOUT_MS);
  const process = TestProcess.forMany(PLACES);
  const run = await process.run(PLACES, file, TIMEOUT_MS);
  process.kill();
  return run;
}

/** Shows a run, and keeps one that failed for a second. */
function finished(run: FileRun): void {
  report(run);
  runs.push(run);
  if (run.failed > 0) failures.push(run);
  else add(run);
}

function add({ passed, failed, skipped }: Counts): void {
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
}

/** One line for a file that passed, with the reason of each skip; the whole output of one that failed. */
function report({ file, output, why, tookMs, processorMs, passed, failed, skipped }: FileRun): void {
  if (failed > 0) {
    console.log(`FAILED  ${file}${why === undefined ? '' : `: ${why}`}\n${output.trimEnd()}`);
    return;
  }
  const counts = `${passed}${skipped > 0 ? `, ${skipped} skipped` : ''}`;
  console.log(`ok      ${file} (${counts}; ${tookMs} ms, ${processorMs} ms of processor)`);
  for (const [reason] of output.matchAll(/^skipped: .*$/gm)) console.log(`        ${reason}`);
}
