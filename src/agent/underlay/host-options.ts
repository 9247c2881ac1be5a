/** What dp0, its rules and routes are made from: the node's configuration, and how the agent was started. */
import type { OverlayName } from '../../../native-free-dataplane/overlay/modes.ts';
import type { OffloadLevel } from '../../linux/tap.ts';
import type { OverlayNode } from '../overlay/node-overlay.ts';

export interface HostNetworkOptions extends OverlayNode {
  readonly clusterCIDR: string;
  readonly serviceCIDR: string;
  readonly underlayMtu: number;
  readonly underlayPrefix: number;
  readonly overlay: OverlayName;
  readonly nodePortRange: readonly [number, number];
  readonly masqueradePorts: readonly [number, number];
  /** Best offloads of dp0. */
  readonly offloads: OffloadLevel;
  readonly noUnderlayShortcut: boolean;
}
