/**
 * nginx behind a NodePort, with wrk outside as its client: 16 keep-alive connections, or a new connection per request.
 */
import type { TestNetwork } from '../contenders/contender.ts';
import { inside } from '../lib/netns.ts';
import { finish } from '../lib/processes.ts';
import type { Metric, PathName } from './metric.ts';

export function http(name: string, where: string, pathName: PathName, keepAlive: boolean): Metric {
  const what = `nginx, ${keepAlive ? 'keep-alive' : 'a connection each'}, ${where}`;
  return {
    name,
    needs: ['wrk', 'nginx'],
    figures: [
      { key: `${name}/rate`, title: what, unit: 'requests/s', better: 'more' },
      { key: `${name}/errors`, title: `${what}: errors`, unit: '', better: 'less' },
    ],
    async measure(network: TestNetwork, seconds: number) {
      const path = network[pathName];
      if (!path) return undefined;
      const url = `http://${path.address}:${path.httpPort}/`;
      const words = [
        'wrk',
        '-t1',
        '-c16',
        `-d${Math.ceil(seconds)}s`,
        ...(keepAlive ? [] : ['-H', 'Connection: close']),
        url,
      ];
      const result = await finish(inside(path.clientNetns, ...words), (seconds + 8) * 1000);
      const match = /Requests\/sec:\s+([\d.]+)/.exec(result.stdout);
      if (!match) throw new Error(`wrk: ${(result.stderr || result.stdout).trim().slice(-300)}`);
      if (Number(match[1]) === 0) throw new Error('wrk: no answer');
      const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(result.stdout);
      const sum = errors ? errors.slice(1).reduce((total, count) => total + Number(count), 0) : 0;
      return { [`${name}/rate`]: Number(match[1]), [`${name}/errors`]: sum };
    },
  };
}
