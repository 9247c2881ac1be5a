/**
 * `npm run leaks -- [--pods N] [--cycles N] [--report FILE]`: pods that come and go in one cluster of two nodes, and clusters
 * that are brought up and taken down. Fails if descriptors, threads, namespaces, mounts, processes or shared memory grow, or in a long run
 * memory or the store.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { startCluster } from '../lib/cluster.ts';
import { churnPods, cycleClusters, growth, type LeaksReport, quarters, trend } from '../lib/leaks.ts';

/** Pods at a time, on two nodes. */
const AT_A_TIME = 100;

const { values } = parseArgs({
  options: {
    pods: { type: 'string', default: '20000' },
    cycles: { type: 'string', default: '500' },
    report: { type: 'string' },
  },
});
const [pods, cycles] = [values.pods, values.cycles].map(Number) as [number, number];
if (![pods, cycles].every(Number.isInteger)) {
  console.error('--pods and --cycles: expected whole numbers');
  process.exit(2);
}
const report: LeaksReport = { date: new Date().toISOString(), pods, cycles };
const problems: string[] = [];

if (pods > 0) {
  const cluster = await startCluster({ args: ['--nodes', '2'] });
  const rounds = await churnPods(cluster, {
    pods,
    atATime: AT_A_TIME,
    onRound: (done, held) => {
      console.log(`${done} pods: ${JSON.stringify(held)}`);
      save({ podsDone: done, last: held });
    },
  });
  const [first, last] = [rounds[1] ?? rounds[0]!, rounds.at(-1)!];
  const its = quarters(rounds);
  problems.push(...growth(first, last), ...trend(its));
  save({ first, last, ...(its && { quarters: its }) });
  await cluster.down();
}
if (cycles > 0) {
  const result = await cycleClusters(cycles, (done) => {
    if (done % 10 === 0) console.log(`${done} cycles`);
    save({ cyclesDone: done });
  });
  problems.push(...result.left);
  for (const name of ['mounts', 'processes'] as const) {
    // A process that is just ending may still be there.
    if (result[name][1] > result[name][0] + 2) problems.push(`${name}: ${result[name].join(' to ')}`);
  }
  save({ result });
}
save({ problems });
console.log(problems.length === 0 ? 'nothing grew' : problems.join('\n'));
process.exitCode = problems.length === 0 ? 0 : 1;

/** Written as the run goes on, so that an interrupted one reports how far it came. */
function save(more: Partial<LeaksReport>): void {
  Object.assign(report, more);
  if (values.report !== undefined) writeFileSync(values.report, `${JSON.stringify(report, null, 2)}\n`);
}
