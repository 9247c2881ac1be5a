/** The options of dp0, its rules and routes, from the node's configuration and the agent's command line. */
import type { OverlayName } from '../../../native-free-dataplane/overlay/modes.ts';
import type { OffloadLevel, Tap } from '../../linux/tap.ts';
import type { OverlayNode } from '../overlay/node-overlay.ts';
import type { FormerState } from './former-state.ts';

/** A pod's hostPort: on all addresses of the node, or on one. */
export interface RoutedPort {
  /** IP protocol number. */
  readonly protocol: number;
  readonly port: number;
  readonly address?: string;
}

/** The options of HostNetwork. */
export interface HostNetworkOptions extends OverlayNode {
  readonly clusterCIDR: string;
  readonly serviceCIDR: string;
  readonly underlayMtu: number;
  readonly underlayPrefix: number;
  readonly overlay: OverlayName;
  readonly nodePortRange: readonly [number, number];
  readonly masqueradePorts: readonly [number, number];
  /** The most offloads that dp0 may use. */
  readonly offloads: OffloadLevel;
  readonly noUnderlayShortcut: boolean;
  /** dp0 and dp1, if they are open already. */
  readonly tap?: Tap | undefined;
  readonly overlayTap?: Tap | undefined;
  /** Address of the name server that this agent runs for its pods; undefined if another one serves them. */
  readonly nameServer: string | undefined;
  /** Connections that the kernel goes on translating (kept-flows.ts); by default none. */
  readonly kept?: readonly string[];
  /** Keeps what the agent changes on the node, for `dataplane node reset`. */
  readonly former?: FormerState;
}
