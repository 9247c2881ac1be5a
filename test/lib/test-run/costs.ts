/** What test files cost, as a run with --record on an otherwise idle machine measured it (costs.json). */
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../cluster.ts';
import type { FileRun } from './file-run.ts';

/** By file: seconds from start to end, and seconds of processor. Files that take less than a second are left out. */
type Costs = Record<string, [seconds: number, processor: number]>;

const FILE = join(ROOT, 'test/lib/test-run/costs.json');
const costs = JSON.parse(readFileSync(FILE, 'utf8')) as Costs;
/** Of a file without a record: that of one with a cluster, so that the first run of a new file is not the last to begin. */
const NEW_CLUSTER = [20, 15] as const;
const SMALL = [0.5, 0.4] as const;
/** A file that waits most of its time still starts a cluster with all processors. */
const LEAST_SHARE = 0.3;

export interface Cost {
  readonly seconds: number;
  /** Of one processor, while it runs. */
  readonly share: number;
}

export function costOf(file: string): Cost {
  const [seconds, processor] = costs[nameOf(file)] ?? (file.startsWith('e2e/') ? NEW_CLUSTER : SMALL);
  return { seconds, share: Math.min(Math.max(processor / seconds, LEAST_SHARE), availableParallelism()) };
}

/** Records the costs of these runs. */
export function recordCosts(runs: readonly FileRun[]): void {
  for (const { file, tookMs, processorMs } of runs) {
    delete costs[nameOf(file)];
    if (tookMs >= 1000) costs[nameOf(file)] = [seconds(tookMs), seconds(processorMs)];
  }
  const names = Object.keys(costs).sort();
  const lines = names.map((name) => `  ${JSON.stringify(name)}: [${costs[name]!.join(', ')}]`);
  writeFileSync(FILE, `{\n${lines.join(',\n')}\n}\n`);
}

/** In seconds, to a tenth. */
export const seconds = (ms: number): number => Math.round(ms / 100) / 10;

const nameOf = (file: string): string => file.replace(/\.test\.js$/, '');
