/**
 * What an overlay needs of the node around it: which packets come to dp0, who routes, what other nodes must agree on. One
 * object of this shape per overlay; overlay.ts has them by name. What it does with packets is native-free-dataplane/overlay/.
 */
import type { OverlayOptions } from '../../api/cluster-options.ts';
import type { Rule } from '../../linux/rules.ts';
import type { TunnelOfWorker } from '../../worker/messages.ts';

/** What an overlay reads of the node's configuration. */
export interface OverlayNode extends Readonly<OverlayOptions> {
  readonly nodeName: string;
  readonly nodeIP: string;
  readonly podCIDR: string;
  readonly underlayDevice: string;
  readonly workers: number;
}

/** A way to the wire that the agent's main thread carries, beside dp0. */
export interface Tunnel {
  /** What each worker is given. */
  readonly ofWorkers: readonly TunnelOfWorker[];
  /** A worker has put something into its ring that was empty. */
  drain(worker: number): void;
  /** The workers must have stopped. */
  close(): void;
}

export interface NodeOverlay {
  /** Does the kernel route packets between the nodes' pods? It needs routes to them then (NODES_TABLE). */
  readonly routedByHost: boolean;
  /** Policy routing rules that bring the overlay's packets to dp0. */
  hostRules(node: OverlayNode): Rule[];
  /** The same packets as nft matches, for the short way from the node's wire to dp0 (underlay/shortcut.ts). */
  shortcutMatches(node: OverlayNode): string[];
  /**
   * Why a foreign node cannot be reached; undefined when it can.
   * @param backendData the node's flannel.alpha.coreos.com/backend-data
   */
  whyNoPeer(backendData: Readonly<Record<string, unknown>>, cluster: Pick<OverlayOptions, 'vni'>): string | undefined;
  /** Do the workers hand the overlay's packets to a raw socket of the agent? Then `openTunnel` opens it. */
  usesRawSocket(options: Readonly<OverlayOptions>): boolean;
  /** @throws Error, SystemError */
  openTunnel(node: OverlayNode, log: (line: string) => void): Tunnel | undefined;
}
