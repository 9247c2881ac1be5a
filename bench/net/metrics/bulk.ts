/** TCP bulk transfer with iperf3, and its cost: busy cores per Gbit/s, of the whole machine and of the forwarder. */
import { type Path, Port, type TestNetwork } from '../contenders/contender.ts';
import { coresBetween, readCpu } from '../lib/cpu.ts';
import { inside } from '../lib/netns.ts';
import { finish } from '../lib/processes.ts';
import type { Metric, PathName } from './metric.ts';

export function bulk(name: string, where: string, pathName: PathName, streams: number): Metric {
  const what = `TCP bulk, ${streams} stream${streams > 1 ? 's' : ''}, ${where}`;
  return {
    name,
    needs: ['iperf3'],
    figures: [
      { key: `${name}/gbits`, title: what, unit: 'Gbit/s', better: 'more' },
      { key: `${name}/cores`, title: `${what}: busy cores per Gbit/s, all`, unit: 'cores', better: 'less' },
      { key: `${name}/forwarder`, title: `${what}: forwarder's cores per Gbit/s`, unit: 'cores', better: 'less' },
    ],
    async measure(network: TestNetwork, seconds: number) {
      const path = network[pathName];
      if (!path) return undefined;
      const before = readCpu(network.forwarders);
      const gbits = await throughput(path, seconds, streams);
      const cores = coresBetween(before, readCpu(network.forwarders));
      const sample: Record<string, number> = {
        [`${name}/gbits`]: gbits,
        // The CPU reading includes iperf3's first second, which its throughput does not.
        [`${name}/cores`]: cores.machine / gbits,
      };
      if (network.forwarders.length > 0) sample[`${name}/forwarder`] = cores.process / gbits;
      return sample;
    },
  };
}

/** Received Gbit/s of one iperf3 run, without its first second. iperf3 accepts whole seconds only: `seconds` is rounded, to at
 * least 1. @throws if iperf3 fails */
export async function throughput(path: Path, seconds: number, streams = 1): Promise<number> {
  const whole = Math.max(1, Math.round(seconds));
  const words = ['iperf3', '-c', path.address, '-p', Port.IPERF, '-t', whole, '-O', 1, '-P', streams, '-J'];
  const { stdout, stderr } = await finish(inside(path.clientNetns, ...words.map(String)), (whole + 10) * 1000);
  let report: { error?: string; end?: { sum_received?: { bits_per_second: number } } };
  try {
    report = JSON.parse(stdout) as typeof report;
  } catch {
    throw new Error(`iperf3: ${stderr || stdout || 'no output'}`);
  }
  if (report.error || !report.end?.sum_received) throw new Error(`iperf3: ${report.error ?? 'no result'}`);
  return report.end.sum_received.bits_per_second / 1e9;
}
