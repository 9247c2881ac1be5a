/** The whole network compared with others: the same pods and services over the kernel's bridges with and without kube-proxy's
 * rules, Open vSwitch in user space, a minimal relay, and dataplane. Contenders alternate within each round. */
import { allContenders } from './contenders/all.ts';
import type { Contender, TestNetwork } from './contenders/contender.ts';
import { residentMiB } from './lib/cpu.ts';
import { claimMachine } from './lib/netns.ts';
import { benchOptions } from './lib/options.ts';
import { runScript } from './lib/processes.ts';
import { addSample, table, writeResults } from './lib/report.ts';
import type { Results } from './lib/results.ts';
import { describeMachine, missing } from './lib/tools.ts';
import { allMetrics } from './metrics/all.ts';
import type { Metric } from './metrics/metric.ts';
import { startServers } from './metrics/servers.ts';
import { targetLines } from './targets.ts';

const MEMORY = 'memory/rss';

const HELP = `usage: node dist/bench/net/whole-network.js [--rounds 3] [--seconds 3] [--only NAME,…] [--contenders NAME,…] [--output BASE]
  --only        metrics whose names start with one of these: bulk, udp, trafgen, rtt, connections, http, …
  --contenders  bridge, iptables, nftables, ovs, relay, dataplane, older (dataplane as on kernels before 6.17 and 6.2)
Writes BASE.json and BASE.svg (whole-network in this machine's folder of bench/results by default) and prints the table.
`;

await runScript(async () => {
  const options = benchOptions(HELP, { rounds: 3, seconds: 3 });
  const contenders = allContenders().filter(({ name }) => chosen(name, options.contenders));
  const metrics = allMetrics().filter(({ name }) => chosen(name, options.only));
  if (contenders.length === 0 || metrics.length === 0) throw new Error('nothing to measure: see --help');
  claimMachine();
  const results: Results = {
    title: 'dataplane and its peers on one machine',
    machine: await describeMachine(),
    settings: { rounds: options.rounds, seconds: options.seconds },
    contenders: contenders.map((contender) => ({ ...describe(contender), skipped: contender.unavailable() })),
    rows: [
      ...metrics.flatMap(({ figures }) => figures),
      { key: MEMORY, title: 'resident memory per agent', unit: 'MiB', better: 'less' },
    ],
    samples: {},
    problems: [],
  };
  const usable = metrics.filter((metric) => {
    const lack = missing(metric.needs);
    if (lack) results.problems.push(`${metric.name} left out: ${lack}`);
    return !lack;
  });
  for (let round = 1; round <= options.rounds; round++) {
    for (const contender of contenders) {
      const entry = results.contenders.find(({ name }) => name === contender.name)!;
      if (entry.skipped) continue;
      progress(`round ${round}/${options.rounds}  ${contender.title}`);
      try {
        const network = await contender.up();
        entry.notes = network.notes;
        await measureNetwork(contender, network, usable, options.seconds, results);
      } catch (error) {
        results.problems.push(`${contender.title}, round ${round}: ${(error as Error).message}`);
      } finally {
        await contender.down();
      }
    }
  }
  progress('');
  process.stdout.write(`${table(results, 'iptables', 'relay')}\n`);
  const targets = targetLines(results);
  if (targets.length > 0) process.stdout.write(`Targets:\n${targets.join('\n')}\n`);
  for (const path of writeResults(results, 'whole-network', options.output)) process.stdout.write(`wrote ${path}\n`);
});

async function measureNetwork(
  contender: Contender,
  network: TestNetwork,
  metrics: Metric[],
  seconds: number,
  results: Results,
): Promise<void> {
  const servers = await startServers(network);
  try {
    for (const metric of metrics) {
      progress(`${contender.title}: ${metric.name}`);
      try {
        const sample = await metric.measure(network, seconds);
        for (const [key, value] of Object.entries(sample ?? {})) addSample(results, key, contender.name, value);
      } catch (error) {
        results.problems.push(`${contender.title}, ${metric.name}: ${(error as Error).message}`);
      }
    }
    if (network.forwarders.length > 0) {
      addSample(results, MEMORY, contender.name, residentMiB(network.forwarders) / network.forwarders.length);
    }
  } finally {
    await servers.stop();
  }
}

function describe({ name, title, about }: Contender): Results['contenders'][number] {
  return { name, title, about, notes: [] };
}

function chosen(name: string, prefixes: string[]): boolean {
  return prefixes.length === 0 || prefixes.some((prefix) => name.startsWith(prefix));
}

/** Progress in one line that is overwritten; on a terminal only. */
function progress(words: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${words}`);
  else if (words) process.stderr.write(`${words}\n`);
}
