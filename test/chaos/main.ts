/**
 * `npm run chaos -- --seconds N --seed S`: a cluster of two nodes under load, with one fault after the other. Prints what
 * each fault cost, and fails if a connection was lost, a byte was wrong, something does not work afterwards or is left
 * behind. A seed that fails is shrunk to the fewest faults.
 *
 *   --events FILE   the faults of this file instead, as a failed run wrote them
 *   --report FILE   write the figures as JSON
 *   --shrink RUNS   how many runs the shrinking may take (default 8; 0: none)
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeFault, type Fault, planFaults } from '../lib/chaos/plan.ts';
import { type ChaosResult, NODES, runChaos } from '../lib/chaos/run.ts';
import { shrinkFaults } from '../lib/chaos/shrink.ts';
import type { ChaosReport } from '../lib/reliability-page.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    events: { type: 'string' },
    report: { type: 'string' },
    shrink: { type: 'string', default: '8' },
  },
});
const [seconds, seed, shrinkRuns] = [values.seconds, values.seed, values.shrink].map(Number) as [
  number,
  number,
  number,
];
if (![seconds, seed, shrinkRuns].every(Number.isInteger) || seconds < 1) {
  console.error('--seconds, --seed and --shrink: expected whole numbers');
  process.exit(2);
}
const faults: readonly Fault[] =
  values.events === undefined
    ? planFaults(seed, seconds * 1000, NODES)
    : (JSON.parse(readFileSync(values.events, 'utf8')) as Fault[]);

console.log(`seed ${seed}, ${seconds} s, ${faults.length} faults`);
const started = performance.now();
const result = await runChaos(faults, (line) => console.log(line));
show(result);
if (values.report !== undefined) {
  const took = Math.round((performance.now() - started) / 1000);
  const report: ChaosReport = { date: new Date().toISOString(), seed, seconds, took, ...result };
  writeFileSync(values.report, `${JSON.stringify(report, null, 2)}\n`);
}
if (result.failures.length > 0) {
  process.exitCode = 1;
  console.error(`failed:\n${result.failures.map((failure) => `  ${failure}`).join('\n')}`);
  if (shrinkRuns > 0 && faults.length > 1) await shrink();
}

function show({ outcomes, totals, wrkRequests, wrkErrors, iperfBytes }: ChaosResult): void {
  for (const { fault, carried, lost, requestsFailed, reasons, longestGapMs } of outcomes) {
    const gap = longestGapMs === 0 ? 'no gap of 200 ms' : `longest gap ${longestGapMs} ms`;
    console.log(
      `${describeFault(fault)}: ${carried} connections, ${lost} lost, ${requestsFailed} requests failed, ${gap}${reasons.map((reason) => `\n    ${reason}`).join('')}`,
    );
  }
  const { tcpConnections, tcpReplies, datagramsSent, datagramsAnswered, requests, requestsFailed } = totals;
  console.log(
    `${tcpConnections} connections held, ${tcpReplies} replies; UDP ${datagramsAnswered} of ${datagramsSent} answered`,
  );
  console.log(
    `${requests} requests, ${requestsFailed} failed; wrk ${wrkRequests}, ${wrkErrors} errors; iperf3 ${iperfBytes} bytes`,
  );
}

async function shrink(): Promise<void> {
  console.log(`shrinking ${faults.length} faults, in at most ${shrinkRuns} runs`);
  const fewest = await shrinkFaults(
    faults,
    async (fewer) => {
      const { failures } = await runChaos(fewer, () => {});
      console.log(`${fewer.length} faults: ${failures.length > 0 ? 'fails' : 'does not fail'}`);
      return failures.length > 0;
    },
    shrinkRuns,
  );
  const file = join(tmpdir(), `dataplane-chaos-${seed}.json`);
  writeFileSync(file, JSON.stringify(fewest, null, 2));
  console.log(fewest.map(describeFault).join('\n'));
  console.log(`to repeat: npm run chaos -- --events ${file}`);
}
