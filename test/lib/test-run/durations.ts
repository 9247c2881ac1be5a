/** How long test files take, as a run with --record on an otherwise idle machine measured it (durations.json). */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../cluster.ts';
import type { FileRun } from './file-run.ts';

/** Seconds by file. Files that take less than one are left out. */
const FILE = join(ROOT, 'test/lib/test-run/durations.json');
const durations = JSON.parse(readFileSync(FILE, 'utf8')) as Record<string, number>;
/** Of a new file with a cluster, so that it is not the last to begin. */
const NEW_CLUSTER = 20;

export const secondsOf = (file: string): number =>
  durations[nameOf(file)] ?? (file.startsWith('e2e/') ? NEW_CLUSTER : 0);

/** Records how long these runs took. */
export function recordDurations(runs: readonly FileRun[]): void {
  for (const { file, tookMs } of runs) {
    delete durations[nameOf(file)];
    if (tookMs >= 1000) durations[nameOf(file)] = seconds(tookMs);
  }
  const lines = Object.keys(durations)
    .sort()
    .map((name) => `  ${JSON.stringify(name)}: ${durations[name]}`);
  writeFileSync(FILE, `{\n${lines.join(',\n')}\n}\n`);
}

/** In seconds, to a tenth. */
export const seconds = (ms: number): number => Math.round(ms / 100) / 10;

const nameOf = (file: string): string => file.replace(/\.test\.js$/, '');
