/**
 * `npm run fuzz -- --seconds N --seed S [--only NAME]…`: fuzzes every target in turn, guided by coverage; long streams of frames at
 * full speed, without it, for a third of the time. 300 million frames are an hour of a processor with `--only streams`.
 *
 *   --only NAME      only this target; may be repeated
 *   --input FILE     run one input, such as a failure that was written before, and nothing else
 *   --update-corpus  write what was found to test/fuzz/corpus, minimised
 *   --report FILE    write the figures as JSON
 *
 * SIGINT and SIGTERM end the run after the current input; the report has what was done until then.
 *
 * A failing input is minimised and written to a file, with the command that repeats it. Status 1 if anything failed.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Choices } from '../lib/fuzz/choices.ts';
import { writeCorpus } from '../lib/fuzz/corpus.ts';
import type { Explored, Failure } from '../lib/fuzz/explore.ts';
import { runTarget } from '../lib/fuzz/run-target.ts';
import { loadTarget, TARGET_NAMES } from '../lib/fuzz/targets.ts';
import type { FuzzReport, FuzzRow } from '../lib/reliability-page.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    only: { type: 'string', multiple: true },
    input: { type: 'string' },
    report: { type: 'string' },
    'update-corpus': { type: 'boolean', default: false },
  },
});
const seconds = numberOf('seconds', values.seconds);
const seed = numberOf('seed', values.seed);
const names = values.only ?? [...TARGET_NAMES];
for (const name of names)
  if (!TARGET_NAMES.includes(name)) usageError(`--only ${name}: expected one of ${TARGET_NAMES.join(', ')}`);

if (values.input !== undefined) await repeat(values.input);
else await fuzz();

function numberOf(option: string, text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) usageError(`--${option} ${text}: expected a whole number from 1`);
  return number;
}

function usageError(message: string): never {
  console.error(message);
  process.exit(2);
}

/** Run the input in a file on the one target given by --only. */
async function repeat(file: string): Promise<void> {
  const [name] = names;
  if (names.length !== 1 || name === undefined) usageError('--input needs one target: --only NAME');
  const target = await loadTarget(name);
  const units = await target.run(new Choices(new Uint8Array(Buffer.from(readFileSync(file, 'utf8'), 'base64'))));
  console.log(`${name}: ${units} ${target.unit}, nothing wrong`);
}

async function fuzz(): Promise<void> {
  console.log(`seed ${seed}, ${seconds} s: ${names.join(', ')}`);
  const rows: FuzzRow[] = [];
  // The streams have half as much time as all others together, the pipeline half of that.
  const weights: Readonly<Record<string, number>> = { streams: names.length / 2, pipeline: names.length / 4 };
  const shares = new Map(names.map((name) => [name, weights[name] ?? 1]));
  const total = [...shares.values()].reduce((sum, share) => sum + share, 0);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => Atomics.store(stop, 0, 1));
  for (const name of names) {
    if (stop[0] !== 0) break;
    const its = (seconds * shares.get(name)!) / total;
    const { unit, atFullSpeed = false } = await loadTarget(name);
    const minimiseCorpus = values['update-corpus'];
    if (atFullSpeed && minimiseCorpus) continue;
    const started = performance.now();
    const explored = await runTarget({
      target: name,
      seed,
      seconds: its,
      withCoverage: !atFullSpeed,
      minimiseCorpus,
      stop,
    });
    const took = (performance.now() - started) / 1000;
    const { inputs, units, blocks } = explored;
    const how = atFullSpeed ? 'at full speed' : 'guided by coverage';
    rows.push({ target: name, how, seconds: Math.round(took * 10) / 10, inputs, units, unit, blocks });
    show(rows.at(-1)!, explored);
    if (explored.failure !== undefined) reportFailure(name, explored.failure);
    else if (minimiseCorpus) writeCorpus(name, explored.corpus);
  }
  if (values.report !== undefined) {
    const clean = process.exitCode === undefined;
    const only = values.only && { only: values.only };
    const report: FuzzReport = { date: new Date().toISOString(), seed, seconds, ...only, clean, rows };
    writeFileSync(values.report, `${JSON.stringify(report, null, 2)}\n`);
  }
}

function show({ target, how, seconds: took, inputs, units, unit, blocks }: FuzzRow, { corpus }: Explored): void {
  const covered = blocks > 0 ? `, ${blocks} blocks, ${corpus.length} inputs in the corpus` : '';
  const rate = Math.round(units / Math.max(took, 0.1));
  console.log(`${target}, ${how}: ${inputs} inputs, ${units} ${unit} in ${took} s (${rate}/s)${covered}`);
}

function reportFailure(target: string, { input, message }: Failure): void {
  process.exitCode = 1;
  const directory = join(tmpdir(), 'dataplane-fuzz');
  mkdirSync(directory, { recursive: true });
  const file = join(directory, `${target}-${createHash('sha256').update(input).digest('hex').slice(0, 12)}.txt`);
  writeFileSync(file, Buffer.from(input).toString('base64'));
  console.error(`${target} failed:\n${message}\nto repeat: npm run fuzz -- --only ${target} --input ${file}`);
}
