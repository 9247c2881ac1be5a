/** Performance targets relative to other implementations, and whether a run reached them. */

import { median } from '../lib/statistics.ts';
import type { Results } from './lib/results.ts';

interface Target {
  /** Row of the results. */
  readonly key: string;
  readonly against: string;
  /** Dataplane's figure as a multiple of the other's: at least this, or at most this if less is better. */
  readonly ratio: number;
}

const KERNEL: readonly Target[] = [
  { key: 'bulk-1/gbits', against: 'iptables', ratio: 1.05 },
  { key: 'bulk-1-across/gbits', against: 'iptables', ratio: 0.9 },
  { key: 'udp-across/kpps', against: 'iptables', ratio: 1 },
  { key: 'rtt/p50', against: 'iptables', ratio: 0.8 },
  { key: 'rtt-across/p50', against: 'iptables', ratio: 1.1 },
  { key: 'http/rate', against: 'iptables', ratio: 0.9 },
  { key: 'http-new/rate', against: 'iptables', ratio: 0.9 },
  { key: 'http-across/rate', against: 'iptables', ratio: 0.9 },
  { key: 'http-across-new/rate', against: 'iptables', ratio: 0.9 },
];

/** Target for every figure of speed against Open vSwitch's userspace datapath: 1.5 times. */
const OVS_RATIO = 1.5;
const SPEED = /\/(gbits|kpps|p50|p99|p99\.9|rate)$/;

/** One line per target: row, ratio, target, whether it is met. Empty if dataplane was not measured. */
export function targetLines(results: Results): string[] {
  const ovs = results.rows
    .filter(({ key }) => SPEED.test(key))
    .map(({ key, better }) => ({ key, against: 'ovs', ratio: better === 'more' ? OVS_RATIO : 1 / OVS_RATIO }));
  return [...KERNEL, ...ovs].flatMap(({ key, against, ratio }) => {
    const row = results.rows.find((one) => one.key === key);
    const ours = median(results.samples[key]?.dataplane ?? []);
    const theirs = median(results.samples[key]?.[against] ?? []);
    if (row === undefined || !(ours > 0) || !(theirs > 0)) return [];
    const reached = ours / theirs;
    const met = row.better === 'more' ? reached >= ratio : reached <= ratio;
    const wanted = `${row.better === 'more' ? 'at least' : 'at most'} ${ratio.toFixed(2)}`;
    return [`${met ? 'met    ' : 'NOT MET'}  ${row.title}: ${reached.toFixed(2)} × ${against}, ${wanted}`];
  });
}
