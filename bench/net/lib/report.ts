/** Output of the results: a table, JSON with every raw sample, and a chart. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { median, short, spread } from '../../lib/statistics.ts';
import { chart } from './chart.ts';
import type { Results } from './results.ts';
import { repositoryRoot } from './tools.ts';

export function addSample(results: Results, key: string, contender: string, value: number): void {
  results.samples[key] ??= {};
  results.samples[key][contender] ??= [];
  results.samples[key][contender].push(value);
}

/**
 * A table: one line per row, one column per contender: median ±spread/2, and the ratio to `base` where that has a
 * value.
 */
export function table(results: Results, base: string): string {
  const shown = results.contenders.filter(({ skipped }) => !skipped);
  const rows = results.rows.filter(({ key }) => results.samples[key]);
  const heads = ['', 'unit', ...shown.map(({ title }) => title)];
  const lines = rows.map((row) => {
    const reference = median(results.samples[row.key]?.[base] ?? []);
    const cells = shown.map(({ name }) => {
      const values = results.samples[row.key]?.[name] ?? [];
      if (values.length === 0) return '–';
      const wide = spread(values);
      const range = Number.isFinite(wide) ? ` ±${Math.round(wide * 50)}%` : '';
      const ratio = name !== base && reference > 0 ? ` (${(median(values) / reference).toFixed(2)}×)` : '';
      return `${short(median(values))}${range}${ratio}`;
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
  const foot = [`Medians of the rounds, ± half the range; (×) against ${base}.`, ...notes, ...results.problems];
  return [format(heads), ...lines.map(format), '', ...foot, ''].join('\n');
}

/** Writes NAME.json and NAME.svg below bench/results (or `output` as the base name) and returns their paths. */
export function writeResults(results: Results, name: string, output?: string): string[] {
  const base = output ?? join(repositoryRoot(), 'bench/results', name);
  mkdirSync(join(base, '..'), { recursive: true });
  writeFileSync(`${base}.json`, `${JSON.stringify(results, null, 1)}\n`);
  writeFileSync(`${base}.svg`, chart(results));
  return [`${base}.json`, `${base}.svg`];
}
