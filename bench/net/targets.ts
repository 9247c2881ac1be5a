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

/** On one node, against the C relay: the yardstick that holds on every processor. */
const RELAY: readonly Target[] = [
  { key: 'bulk-1/gbits', against: 'relay', ratio: 0.95 },
  { key: 'udp/kpps', against: 'relay', ratio: 0.85 },
  { key: 'trafgen/kpps', against: 'relay', ratio: 0.8 },
  { key: 'connections/rate', against: 'relay', ratio: 0.85 },
  { key: 'http-pod/rate', against: 'relay', ratio: 0.9 },
  { key: 'rtt/p50', against: 'relay', ratio: 1 },
  { key: 'rtt/p99', against: 'relay', ratio: 1 },
  { key: 'rtt-loaded/p50', against: 'relay', ratio: 2 },
  { key: 'rtt-loaded/p99', against: 'relay', ratio: 2 },
];

/** Across nodes, against the kernel with kube-proxy's rules. */
const KERNEL: readonly Target[] = [
  { key: 'bulk-1-across/gbits', against: 'iptables', ratio: 1 },
  { key: 'udp-across/kpps', against: 'iptables', ratio: 1.2 },
  { key: 'trafgen-across/kpps', against: 'iptables', ratio: 1.2 },
  { key: 'rtt-across/p50', against: 'iptables', ratio: 1 },
  { key: 'connections-across/rate', against: 'iptables', ratio: 1 },
  { key: 'http-across/rate', against: 'iptables', ratio: 0.95 },
  { key: 'http-across-new/rate', against: 'iptables', ratio: 0.95 },
];

/** As on kernels without super-packets in tunnels. */
const OLDER: readonly Target[] = [{ key: 'bulk-1-across/gbits', against: 'iptables', ratio: 0.5 }];

/** Against Open vSwitch's userspace datapath: ahead in every figure of speed. */
const OVS_RATIO = 1;
const SPEED = /\/(gbits|kpps|p50|p99|p99\.9|rate)$/;

/** One line per target: row, ratio, target, whether it is met. Empty if dataplane was not measured. */
export function targetLines(results: Results): string[] {
  const ovs = results.rows
    .filter(({ key }) => SPEED.test(key))
    .map(({ key, better }) => ({ key, against: 'ovs', ratio: better === 'more' ? OVS_RATIO : 1 / OVS_RATIO }));
  const all = [...RELAY, ...KERNEL, ...ovs].map((target) => ({ ...target, contender: 'dataplane' }));
  const older = OLDER.map((target) => ({ ...target, contender: 'older-6.2' }));
  return [...all, ...older].flatMap(({ key, against, ratio, contender }) => {
    const row = results.rows.find((one) => one.key === key);
    const ours = median(results.samples[key]?.[contender] ?? []);
    const theirs = median(results.samples[key]?.[against] ?? []);
    if (row === undefined || !(ours > 0) || !(theirs > 0)) return [];
    const reached = ours / theirs;
    const met = row.better === 'more' ? reached >= ratio : reached <= ratio;
    const wanted = `${row.better === 'more' ? 'at least' : 'at most'} ${ratio.toFixed(2)}`;
    return [
      `${met ? 'met    ' : 'NOT MET'}  ${contender}, ${row.title}: ${reached.toFixed(2)} × ${against}, ${wanted}`,
    ];
  });
}
