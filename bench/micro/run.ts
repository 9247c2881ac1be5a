/**
 * Runs the micro-benchmarks of this folder one after the other, each in a process of its own: every module here that
 * exports `suite` (a Suite of the benchmark package) or `measure`. Each is named after what it times. Prints tables and
 * writes them to micro.json in this machine's folder of bench/results.
 *
 *   node dist/bench/micro/run.js [NAME…] [--json FILE] [--against DIST [--rounds N]]
 *
 * --against runs the built files of another version (a copy of dist/ that includes this folder) and this one
 * alternately, N times, so that other load on the machine affects both alike.
 */
import { fork } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import Benchmark from 'benchmark';
import { INLINING_FLAGS } from '../../src/worker/inlining.ts';
import { resultDirectory } from '../lib/result-directory.ts';
import { median, quantile } from '../lib/statistics.ts';
import {
  type BenchModule,
  type Fact,
  factLine,
  figure,
  isTooMuch,
  type Run,
  type Timing,
  timingLine,
} from './lib/results.ts';

const USAGE = 'usage: node dist/bench/micro/run.js [NAME…] [--json FILE] [--against DIST [--rounds N]]\n';
const HERE = fileURLToPath(new URL('.', import.meta.url));

const options = readOptions();
if (options.child !== undefined) {
  const run = await runModule(options.child);
  process.send?.(run);
  process.exitCode = run.failed ? 1 : 0;
} else if (options.against === undefined) await runAll();
else await compare(options.against);

function readOptions(): { names: string[]; json?: string; child?: string; against?: string; rounds: number } {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        json: { type: 'string' },
        against: { type: 'string' },
        rounds: { type: 'string', default: '3' },
        child: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (!values.help) return { ...values, rounds: Number(values.rounds), names: chosen(positionals) };
    process.stdout.write(USAGE);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
  process.exit(0);
}

/** The requested modules; all if none is named. */
function chosen(names: string[]): string[] {
  const present = readdirSync(HERE)
    .filter((file) => file.endsWith('.js') && file !== 'run.js')
    .map((file) => file.slice(0, -'.js'.length))
    .sort();
  const unknown = names.filter((name) => !present.includes(name));
  if (unknown.length > 0) throw new Error(`no such benchmark: ${unknown.join(', ')}; there are: ${present.join(', ')}`);
  return names.length > 0 ? names : present;
}

/** Runs every module once; exit status 1 if one fails or a figure exceeds its limit. */
async function runAll(): Promise<void> {
  const runs: Run[] = [];
  for (const name of options.names) runs.push(await inProcess(HERE, name, false));
  if (runs.some(({ failed }) => failed)) process.exitCode = 1;
  const file =
    options.json ?? (options.names.length === chosen([]).length ? join(resultDirectory(), 'micro.json') : undefined);
  if (file !== undefined) writeFileSync(file, `${JSON.stringify({ machine: machine(), runs }, null, 1)}\n`);
}

/** Runs both versions alternately: medians over the rounds, and their ratio. */
async function compare(dist: string): Promise<void> {
  const figures = new Map<string, [ours: number[], theirs: number[]]>();
  for (const name of options.names) {
    for (let round = 0; round < options.rounds; round++) {
      for (const side of round % 2 === 0 ? [0, 1] : [1, 0]) {
        const { timings, facts } = await inProcess(side === 0 ? HERE : join(dist, 'bench/micro'), name, true);
        for (const one of timings) note(figures, `${name}: ${one.name} (ns)`, side, one.nanoseconds);
        for (const one of facts) note(figures, `${name}: ${one.name} (${one.unit})`, side, one.value);
      }
    }
  }
  process.stdout.write(`${'this'.padStart(10)} ${'other'.padStart(10)}    ratio, median of ${options.rounds} rounds\n`);
  for (const [what, [ours, theirs]] of figures) {
    if (ours.length === 0 || theirs.length === 0) continue;
    const [one, other] = [median(ours), median(theirs)];
    process.stdout.write(
      `${figure(one).padStart(10)} ${figure(other).padStart(10)} ${(one / other).toFixed(2).padStart(8)}  ${what}\n`,
    );
  }
  if (options.json !== undefined) {
    const rows = [...figures].map(([what, [ours, theirs]]) => ({ what, ours, theirs }));
    writeFileSync(options.json, `${JSON.stringify({ machine: machine(), against: dist, rows }, null, 1)}\n`);
  }
}

function note(figures: Map<string, [number[], number[]]>, what: string, side: number, value: number): void {
  const known = figures.get(what) ?? [[], []];
  known[side]?.push(value);
  figures.set(what, known);
}

function machine(): Record<string, string | number | undefined> {
  return {
    date: new Date().toISOString(),
    kernel: release(),
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    node: process.version,
    v8: process.versions.v8,
  };
}

function inProcess(folder: string, name: string, quiet: boolean): Promise<Run> {
  return new Promise((resolve) => {
    let run: Run = { module: name, timings: [], facts: [], failed: true };
    const child = fork(join(folder, 'run.js'), ['--child', name], {
      // The limits that workers run with: conntrack-tcp is 1.3 times as slow with V8's own.
      execArgv: ['--expose-gc', '--enable-source-maps', ...INLINING_FLAGS],
      stdio: ['ignore', quiet ? 'ignore' : 'inherit', 'inherit', 'ipc'],
    });
    child.on('message', (found) => {
      run = found as Run;
    });
    child.on('exit', (code, signal) => {
      if (signal !== null) process.stderr.write(`${name}: ended by ${signal}\n`);
      resolve({ ...run, failed: run.failed || code !== 0 });
    });
  });
}

/** Runs one module in this process. */
async function runModule(name: string): Promise<Run> {
  process.stdout.write(`\n${name}\n`);
  // Defaults for the benchmarks created from now on. Short samples, so that some are not interrupted by other
  // processes.
  Benchmark.options.maxTime = 0.6;
  Benchmark.options.minTime = 0.004;
  Benchmark.options.minSamples = 40;
  const { suite, measure } = (await import(new URL(`${name}.js`, import.meta.url).href)) as BenchModule;
  const timed = suite ? await time(name, suite) : { timings: [], failed: false };
  const facts: Fact[] = [];
  for (const fact of measure ? await measure() : []) {
    facts.push(fact);
    process.stdout.write(`${factLine(fact)}\n`);
  }
  const tooMuch =
    timed.timings.some(({ nanoseconds, atMost }) => isTooMuch(nanoseconds, atMost)) ||
    facts.some(({ value, atMost }) => isTooMuch(value, atMost));
  return { module: name, timings: timed.timings, facts, failed: timed.failed || tooMuch };
}

/** Runs one suite. */
function time(name: string, suite: Benchmark.Suite): Promise<{ timings: Timing[]; failed: boolean }> {
  const timings: Timing[] = [];
  let failed = false;
  return new Promise((resolve) => {
    suite.on('cycle', ({ target }: Benchmark.Event) => {
      const done = target as unknown as Benchmark & { error?: Error; operations?: number; atMost?: number };
      const { stats, error, operations = 1, atMost } = done;
      if (error || !stats || stats.sample.length === 0) {
        process.stdout.write(`  ${done.name ?? '?'}: ${error?.message ?? 'no result'}\n`);
        failed = true;
        return;
      }
      const samples = stats.sample.map((seconds) => (seconds * 1e9) / operations);
      const timing: Timing = {
        suite: name,
        name: done.name ?? '?',
        nanoseconds: quantile(samples, 0.1),
        median: median(samples),
        samples: samples.length,
        ...(atMost !== undefined && { atMost }),
      };
      timings.push(timing);
      process.stdout.write(`${timingLine(timing)}\n`);
    });
    suite.on('complete', () => resolve({ timings, failed }));
    suite.run({ async: true });
  });
}
