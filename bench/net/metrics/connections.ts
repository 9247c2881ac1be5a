/** New connections per second, 16 at a time: connect, send a byte, receive the reply, reset. Each is a new conntrack entry, so
 * this measures the slow path. */
import { Port, type TestNetwork } from '../contenders/contender.ts';
import { inside } from '../lib/netns.ts';
import { finish } from '../lib/processes.ts';
import { compiled } from '../lib/tools.ts';
import type { Metric, PathName } from './metric.ts';

const PARALLEL = 16;

export function connectionRate(name: string, where: string, pathName: PathName): Metric {
  return {
    name,
    needs: ['gcc'],
    figures: [
      { key: `${name}/rate`, title: `new TCP connections, ${where}`, unit: '1/s', better: 'more' },
      { key: `${name}/failed`, title: `new TCP connections, ${where}: failed`, unit: '1/s', better: 'less' },
    ],
    async measure(network: TestNetwork, seconds: number) {
      const path = network[pathName];
      if (!path) return undefined;
      const words = ['connect', path.address, Port.ACCEPT, seconds, PARALLEL].map(String);
      const result = await finish(inside(path.clientNetns, compiled('traffic'), ...words), (seconds + 5) * 1000);
      const match = /connections (\d+) failed (\d+) seconds ([\d.]+)/.exec(result.stdout);
      if (!match) throw new Error(`connect: ${result.stderr}`);
      if (Number(match[1]) === 0) throw new Error('connect: no connection was answered');
      return {
        [`${name}/rate`]: Number(match[1]) / Number(match[3]),
        [`${name}/failed`]: Number(match[2]) / Number(match[3]),
      };
    },
  };
}
