/**
 * The cluster's options for connection tracking, written where the workers read them: they apply from the next packet
 * on.
 */
import { type Conntrack, Setting } from '../../../native-free-dataplane/conntrack/record.ts';
import { timeoutsWith } from '../../../native-free-dataplane/conntrack/timeouts.ts';
import type { ClusterOptions } from '../../api/cluster-options.ts';

export type ConntrackOptions = Pick<ClusterOptions, 'conntrackTimeouts' | 'conntrackTcpLiberal' | 'conntrackTcpLoose'>;

export const CONNTRACK_OPTIONS: readonly (keyof ConntrackOptions)[] = [
  'conntrackTimeouts',
  'conntrackTcpLiberal',
  'conntrackTcpLoose',
];

/** Idle connections keep their current deadline; the next packet of each applies the new timeout. */
export function writeConntrackSettings({ settings }: Conntrack, options: ConntrackOptions): void {
  settings.set(timeoutsWith(options.conntrackTimeouts));
  settings[Setting.TCP_LIBERAL] = options.conntrackTcpLiberal ? 1 : 0;
  settings[Setting.TCP_LOOSE] = options.conntrackTcpLoose ? 1 : 0;
}
