/**
 * Run time of the command as a user at a shell sees it: no arguments, a help text, a query without a cluster.
 * Interleaved, so that other load affects all alike.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { median } from '../lib/statistics.ts';
import type { Fact } from './lib/results.ts';

const MAIN = fileURLToPath(new URL('../../bundle/cli/main.js', import.meta.url));
const ROUNDS = 20;
const AT_MOST_MS = 100;

const COMMANDS: readonly { readonly name: string; readonly args: readonly string[]; readonly atMost?: number }[] = [
  { name: 'node alone', args: ['-e', '0'] },
  { name: 'dataplane --help', args: [MAIN, '--help'], atMost: AT_MOST_MS },
  { name: 'dataplane get pods, no cluster', args: [MAIN, 'get', 'pods'], atMost: AT_MOST_MS },
];

export function measure(): Fact[] {
  const times = COMMANDS.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, { args }] of COMMANDS.entries()) {
      const begin = performance.now();
      spawnSync(process.execPath, args, { stdio: 'ignore' });
      times[i]!.push(performance.now() - begin);
    }
  }
  return COMMANDS.map(({ name, atMost }, i) => ({
    name,
    value: median(times[i]!),
    unit: 'ms',
    ...(atMost !== undefined && { atMost }),
  }));
}
