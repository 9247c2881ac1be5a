/** Request and response over one TCP connection (sockperf ping-pong, 14-byte messages): full round trips, alone and beside a
 * bulk transfer on the same path. */
import { Port, type World } from '../contenders/contender.ts';
import { inside } from '../lib/netns.ts';
import { finish, sleep } from '../lib/processes.ts';
import { type PathName, throughput } from './bulk.ts';
import type { Metric } from './metric.ts';

const PERCENTILES: [string, string][] = [
  ['p50', '50.000'],
  ['p99', '99.000'],
  ['p99.9', '99.900'],
];

export function roundTrip(name: string, where: string, pathName: PathName, loaded: boolean): Metric {
  return {
    name,
    needs: loaded ? ['sockperf', 'iperf3'] : ['sockperf'],
    figures: PERCENTILES.map(([short]) => ({
      key: `${name}/${short}`,
      title: `TCP round trip ${short}, ${where}`,
      unit: 'µs',
      better: 'less',
    })),
    async measure(world: World, seconds: number) {
      const path = world[pathName];
      if (!path) return undefined;
      const load = loaded ? throughput(path, seconds + 1) : undefined;
      // A failed load shows in the end; it must not be an unhandled rejection meanwhile.
      load?.catch(() => {});
      if (loaded) await sleep(500);
      const words = [
        'sockperf',
        'pp',
        '--tcp',
        '--full-rtt',
        '-i',
        path.address,
        '-p',
        Port.SOCKPERF,
        '-t',
        seconds,
        '-m',
        14,
      ];
      const result = await finish(inside(path.clientNetns, ...words.map(String)), (seconds + 8) * 1000);
      await load;
      const sample: Record<string, number> = {};
      for (const [short, long] of PERCENTILES) {
        const match = new RegExp(`percentile ${long.replace('.', '\\.')} =\\s+([\\d.]+)`).exec(result.stdout);
        if (match) sample[`${name}/${short}`] = Number(match[1]);
      }
      if (Object.keys(sample).length === 0)
        throw new Error(`sockperf: ${(result.stderr || result.stdout).trim().slice(-300)}`);
      return sample;
    },
  };
}
