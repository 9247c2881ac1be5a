/** Runs the micro-benchmarks of this folder one after the other: every module here that exports `suite`, a Suite of the
 * benchmark package. Each is named after the module it times. Prints ns per operation with the spread of the samples.
 *
 *   node dist/bench/micro/run.js [NAME…] [--json FILE] */
import { readdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import type Benchmark from 'benchmark';

interface Timing {
  suite: string;
  name: string;
  nanoseconds: number;
  /** Relative margin of error of the mean, in percent (95 % confidence). */
  marginPercent: number;
  samples: number;
}

interface SuiteModule {
  suite?: Benchmark.Suite;
}

const USAGE = 'usage: node dist/bench/micro/run.js [NAME…] [--json FILE]\n';

const { names, json } = readOptions();
const present = readdirSync(new URL('.', import.meta.url))
  .filter((file) => file.endsWith('.js') && file !== 'run.js')
  .map((file) => file.slice(0, -'.js'.length))
  .sort();
const unknown = names.filter((name) => !present.includes(name));
if (unknown.length > 0) {
  process.stderr.write(`no such benchmark: ${unknown.join(', ')}; there are: ${present.join(', ') || 'none'}\n`);
  process.exit(2);
}

const timings: Timing[] = [];
for (const name of names.length > 0 ? names : present) {
  const { suite } = (await import(new URL(`${name}.js`, import.meta.url).href)) as SuiteModule;
  if (suite) timings.push(...(await time(name, suite)));
}
if (json) {
  const machine = {
    node: process.version,
    v8: process.versions.v8,
    cpu: cpus()[0]?.model,
    date: new Date().toISOString(),
  };
  writeFileSync(json, `${JSON.stringify({ machine, timings }, null, 1)}\n`);
}

function readOptions(): { names: string[]; json?: string } {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { json: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    });
    if (!values.help) return { names: positionals, json: values.json };
    process.stdout.write(USAGE);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
  process.exit(0);
}

/** Runs one suite; a benchmark that throws is named and makes the exit status 1. */
function time(name: string, suite: Benchmark.Suite): Promise<Timing[]> {
  const found: Timing[] = [];
  process.stdout.write(`\n${name}\n`);
  return new Promise((resolve) => {
    suite.on('cycle', ({ target }: Benchmark.Event) => {
      const { name: what, stats, error } = target as unknown as Benchmark & { error?: Error };
      if (error || !stats) {
        process.stdout.write(`  ${what ?? '?'}: ${error?.message ?? 'no result'}\n`);
        process.exitCode = 1;
        return;
      }
      const nanoseconds = stats.mean * 1e9;
      const timing = {
        suite: name,
        name: what ?? '?',
        nanoseconds,
        marginPercent: stats.rme,
        samples: stats.sample.length,
      };
      found.push(timing);
      const figure = nanoseconds.toFixed(nanoseconds < 100 ? 2 : 0).padStart(12);
      process.stdout.write(`${figure} ns ±${stats.rme.toFixed(1).padStart(4)}%  ${timing.name}\n`);
    });
    suite.on('complete', () => resolve(found));
    suite.run({ async: true });
  });
}
