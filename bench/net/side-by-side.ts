/**
 * A short comparison: one iperf3 stream through a ClusterIP, dataplane against the kernel's bridge + iptables (and
 * VXLAN across nodes), both up at the same time, alternating in one run.
 */

import { median } from '../lib/statistics.ts';
import type { Contender, TestNetwork } from './contenders/contender.ts';
import { dataplane } from './contenders/dataplane.ts';
import { kernelIptables } from './contenders/kernel.ts';
import { claimMachine } from './lib/netns.ts';
import { benchOptions } from './lib/options.ts';
import { runScript } from './lib/processes.ts';
import { addSample, table, writeResults } from './lib/report.ts';
import type { Results } from './lib/results.ts';
import { describeMachine, missing } from './lib/tools.ts';
import { throughput } from './metrics/bulk.ts';
import type { PathName } from './metrics/metric.ts';
import { startServers } from './metrics/servers.ts';

const HELP = `usage: node dist/bench/net/side-by-side.js [--rounds 5] [--seconds 4] [--output BASE]
The exit status is 1 if one of the two could not be measured.
`;

const PATHS: { path: PathName; key: string; title: string }[] = [
  { path: 'sameNode', key: 'same-node/gbits', title: 'TCP, 1 stream, ClusterIP, same node' },
  { path: 'acrossNodes', key: 'across-nodes/gbits', title: 'TCP, 1 stream, ClusterIP, across nodes' },
];

await runScript(async () => {
  const options = benchOptions(HELP, { rounds: 5, seconds: 4 });
  const lack = missing(['iperf3']);
  if (lack) throw new Error(lack);
  claimMachine();
  const contenders = [kernelIptables(), dataplane()];
  const results: Results = {
    title: 'One TCP stream through a ClusterIP, side by side',
    machine: await describeMachine(),
    settings: { rounds: options.rounds, seconds: options.seconds },
    contenders: contenders.map(({ name, title, about }) => ({ name, title, about, notes: [] })),
    rows: PATHS.map(({ key, title }) => ({ key, title, unit: 'Gbit/s', better: 'more' as const })),
    samples: {},
    problems: [],
  };
  const networks: { contender: Contender; network: TestNetwork }[] = [];
  for (const contender of contenders) {
    const entry = results.contenders.find(({ name }) => name === contender.name)!;
    entry.skipped = contender.unavailable();
    if (entry.skipped) continue;
    try {
      networks.push({ contender, network: await contender.up() });
    } catch (error) {
      entry.skipped = (error as Error).message;
      await contender.down();
    }
  }
  const servers = [];
  for (const { network } of networks) servers.push(await startServers(network));
  for (let round = 1; round <= options.rounds; round++) {
    for (const { path, key } of PATHS) {
      for (const { contender, network } of networks) {
        try {
          const gbits = await throughput(network[path]!, options.seconds);
          addSample(results, key, contender.name, gbits);
          process.stderr.write(`round ${round}  ${path}  ${contender.title}: ${gbits.toFixed(2)} Gbit/s\n`);
        } catch (error) {
          results.problems.push(`${contender.title}, ${path}, round ${round}: ${(error as Error).message}`);
        }
      }
    }
  }
  for (const one of servers) await one.stop();
  for (const { contender } of networks) await contender.down();
  process.stdout.write(table(results, 'iptables'));
  for (const { key, title } of PATHS) {
    const ratio = median(results.samples[key]?.dataplane ?? []) / median(results.samples[key]?.iptables ?? []);
    if (Number.isFinite(ratio)) process.stdout.write(`${title}: ours is ${ratio.toFixed(2)} times the kernel's path\n`);
    else process.exitCode = 1;
  }
  for (const path of writeResults(results, 'side-by-side', options.output)) process.stdout.write(`wrote ${path}\n`);
});
