/** Output of the results: a table, JSON with every raw sample, and a chart. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { resultDirectory } from '../../lib/result-directory.ts';
import { median, short, spread } from '../../lib/statistics.ts';
import { chart } from './chart.ts';
import type { Results } from './results.ts';

export function addSample(results: Results, key: string, contender: string, value: number): void {
  results.samples[key] ??= {};
  results.samples[key][contender] ??= [];
  results.samples[key][contender].push(value);
}

/**
 * A table: one line per row, one column per contender: median ±spread/2, and the ratios to each of `bases` that has a value.
 */
export function table(results: Results, ...bases: string[]): string {
  const shown = results.contenders.filter(({ skipped }) => !skipped);
  const rows = results.rows.filter(({ key }) => results.samples[key]);
  const heads = ['', 'unit', ...shown.map(({ title }) => title)];
  const present = bases.filter((base) => shown.some(({ name }) => name === base));
  const lines = rows.map((row) => {
    const cells = shown.map(({ name }) => {
      const values = results.samples[row.key]?.[name] ?? [];
      if (values.length === 0) return '–';
      const wide = spread(values);
      const range = Number.isFinite(wide) ? ` ±${Math.round(wide * 50)}%` : '';
      return `${short(median(values))}${range}${ratios(results, row.key, name, present)}`;
    });
    return [row.title, row.unit, ...cells];
  });
  const widths = heads.map((head, at) => Math.max(head.length, ...lines.map((line) => line[at]!.length)));
  const format = (cells: string[]) =>
    cells
      .map((cell, at) => (at < 2 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)))
      .join('  ')
      .trimEnd();
  const notes = results.contenders.map(({ title, about, notes, skipped }) => {
    const more = skipped ? `left out: ${skipped}` : [about, ...notes].join('; ');
    return `${title}: ${more}`;
  });
  const against = present.length > 0 ? `; (×) against ${present.join(' and ')}` : '';
  const foot = [`Medians of the rounds, ± half the range${against}.`, ...notes, ...results.problems];
  return [format(heads), ...lines.map(format), '', ...foot, ''].join('\n');
}

/** A contender's median as multiples of the bases': ` (1.20×, 0.95×)`, with – for a base without this row. */
function ratios({ samples }: Results, key: string, name: string, bases: readonly string[]): string {
  if (bases.length === 0 || bases.includes(name)) return '';
  const ours = median(samples[key]?.[name] ?? []);
  const each = bases.map((base) => ours / median(samples[key]?.[base] ?? []));
  if (!each.some(Number.isFinite)) return '';
  return ` (${each.map((one) => (Number.isFinite(one) ? `${one.toFixed(2)}×` : '–')).join(', ')})`;
}

/** Writes NAME.json and NAME.svg into this machine's folder of bench/results (or `output` as the base name); returns their paths. */
export function writeResults(results: Results, name: string, output?: string): string[] {
  const base = output ?? join(resultDirectory(), name);
  mkdirSync(join(base, '..'), { recursive: true });
  writeFileSync(`${base}.json`, `${JSON.stringify(results, null, 1)}\n`);
  writeFileSync(`${base}.svg`, chart(results));
  return [`${base}.json`, `${base}.svg`];
}
