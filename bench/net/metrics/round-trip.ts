/** Request and response over one TCP connection (sockperf ping-pong, 14-byte messages): full round trips, alone and beside a
 * bulk transfer on the same path. */
import { Port, type TestNetwork } from '../contenders/contender.ts';
import { inside } from '../lib/netns.ts';
import { finish } from '../lib/processes.ts';
import { throughput } from './bulk.ts';
import type { Metric, PathName } from './metric.ts';

const PERCENTILES: [string, string][] = [
  ['p50', '50.000'],
  ['p99', '99.000'],
  ['p99.9', '99.900'],
];

/**
 * sockperf takes two seconds to calibrate its clock before it sends: the load must outlast that and the measurement.
 */
const START_UP_SECONDS = 4;

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
    async measure(network: TestNetwork, seconds: number) {
      const path = network[pathName];
      if (!path) return undefined;
      const whole = Math.max(1, Math.round(seconds));
      let loadRuns = loaded;
      const load = loaded ? throughput(path, whole + START_UP_SECONDS) : Promise.resolve(0);
      const loadEnded = load.finally(() => {
        loadRuns = false;
      });
      // A failed load shows below; it must not be an unhandled rejection meanwhile.
      loadEnded.catch(() => {});
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
        whole,
        '-m',
        14,
      ];
      const result = await finish(inside(path.clientNetns, ...words.map(String)), (whole + 15) * 1000);
      const covered = !loaded || loadRuns;
      await loadEnded;
      if (!covered) throw new Error('the bulk stream ended before the round trips did');
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
