/**
 * The overlays compared: one TCP stream, small UDP, round trips from a pod to a service on the other node, for each
 * overlay in turn (dataplane's namespaces have fixed names, so one is up at a time) and the kernel's VXLAN with
 * kube-proxy's rules.
 */
import type { Contender, TestNetwork } from './contenders/contender.ts';
import { dataplane } from './contenders/dataplane.ts';
import { kernelIptables } from './contenders/kernel.ts';
import { claimMachine } from './lib/netns.ts';
import { benchOptions } from './lib/options.ts';
import { runScript } from './lib/processes.ts';
import { addSample, table, writeResults } from './lib/report.ts';
import type { Results } from './lib/results.ts';
import { describeMachine, missing } from './lib/tools.ts';
import { bulk } from './metrics/bulk.ts';
import { smallDatagrams } from './metrics/datagrams.ts';
import { roundTrip } from './metrics/round-trip.ts';
import { startServers } from './metrics/servers.ts';

const HELP = `usage: node dist/bench/net/overlays.js [--rounds 3] [--seconds 2] [--contenders NAME,…] [--output BASE]
`;

const VARIANTS: readonly { name: string; options: readonly string[] }[] = [
  { name: 'vxlan', options: [] },
  { name: 'vxlan-software', options: ['--no-tunnel-offload'] },
  { name: 'vxlan-jumbo', options: ['--no-tunnel-offload', '--mtu', '8950'] },
  { name: 'host-gw', options: ['--overlay', 'host-gw'] },
  { name: 'ipip-raw', options: ['--overlay', 'ipip'] },
  { name: 'ipip-dp0', options: ['--overlay', 'ipip', '--ipip-transport', 'dp0'] },
];

await runScript(async () => {
  const options = benchOptions(HELP, { rounds: 3, seconds: 2 });
  const lack = missing(['iperf3', 'sockperf', 'gcc']);
  if (lack) throw new Error(lack);
  claimMachine();
  const all = [kernelIptables(), ...VARIANTS.map((variant) => dataplane(variant))];
  const contenders = all.filter(({ name }) => options.contenders.length === 0 || options.contenders.includes(name));
  const metrics = [
    bulk('bulk-1-across', 'across nodes', 'acrossNodes', 1),
    smallDatagrams('udp-across', 'across nodes', 'acrossNodes'),
    roundTrip('rtt-across', 'across nodes', 'acrossNodes', false),
  ];
  const results: Results = {
    title: 'Overlays: a pod and a service on the other node',
    machine: await describeMachine(),
    settings: { rounds: options.rounds, seconds: options.seconds },
    contenders: contenders.map(({ name, title, about }) => ({ name, title, about, notes: [] })),
    rows: metrics.flatMap(({ figures }) => figures),
    samples: {},
    problems: [],
  };
  for (let round = 1; round <= options.rounds; round++) {
    for (const contender of contenders) {
      try {
        await measure(contender, await contender.up());
      } catch (error) {
        results.problems.push(`${contender.title}, round ${round}: ${(error as Error).message}`);
      }
      await contender.down();
    }
  }
  process.stdout.write(table(results, 'iptables'));
  for (const path of writeResults(results, 'overlays', options.output)) process.stdout.write(`wrote ${path}\n`);
  if (results.problems.length > 0) process.exitCode = 1;

  async function measure(contender: Contender, network: TestNetwork): Promise<void> {
    const servers = await startServers(network);
    try {
      for (const metric of metrics) {
        process.stderr.write(`${contender.title}: ${metric.name}\n`);
        const sample = await metric.measure(network, options.seconds);
        for (const [key, value] of Object.entries(sample ?? {})) addSample(results, key, contender.name, value);
      }
    } finally {
      await servers.stop();
    }
  }
});
