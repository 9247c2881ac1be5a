/**
 * The cluster's options for connection tracking, written where the workers read them: they apply from the next packet
 * on.
 */
import { type Conntrack, Setting } from '../../../native-free-dataplane/conntrack/record.ts';
import { timeoutsWith } from '../../../native-free-dataplane/conntrack/timeouts.ts';
import type { ClusterOptions } from '../../api/cluster-options.ts';
import { networkWords, parseCidr } from '../../net/address.ts';

export type ConntrackOptions = Pick<ClusterOptions, 'conntrackTimeouts' | 'conntrackTcpLiberal' | 'conntrackTcpLoose'>;

export const CONNTRACK_OPTIONS: readonly (keyof ConntrackOptions)[] = [
  'conntrackTimeouts',
  'conntrackTcpLiberal',
  'conntrackTcpLoose',
];

/** The pods of this node, each of which has a share of the table. */
export function writePodNetwork({ settings }: Conntrack, podCIDR: string): void {
  const { words, prefix } = networkWords(parseCidr(podCIDR)!);
  settings[Setting.PODS_NETWORK] = words[3]!;
  settings[Setting.PODS_MASK] = -1 << (128 - prefix);
}

/** Idle connections keep their current deadline; the next packet of each applies the new timeout. */
export function writeConntrackSettings({ settings }: Conntrack, options: ConntrackOptions): void {
  settings.set(timeoutsWith(options.conntrackTimeouts));
  settings[Setting.TCP_LIBERAL] = options.conntrackTcpLiberal ? 1 : 0;
  settings[Setting.TCP_LOOSE] = options.conntrackTcpLoose ? 1 : 0;
}
