/**
 * The node's side of an overlay: which packets are routed to dp0, who routes between nodes, what other nodes must agree
 * on. One object of this shape per overlay; overlay.ts lists them by name. The packet side is in
 * native-free-dataplane/overlay/.
 */
import type { OverlayOptions } from '../../api/cluster-options.ts';
import type { Rule } from '../../linux/rules.ts';
import type { TunnelOfWorker } from '../../worker/messages.ts';

/** The node's configuration as far as overlays read it. */
export interface OverlayNode extends Readonly<OverlayOptions> {
  readonly nodeName: string;
  readonly nodeIP: string;
  readonly podCIDR: string;
  readonly underlayDevice: string;
  readonly workers: number;
}

/** A path to the wire through the agent's main thread, beside dp0. */
export interface Tunnel {
  /** Passed to each worker. */
  readonly ofWorkers: readonly TunnelOfWorker[];
  /** A worker has added a packet to its empty ring. */
  drain(worker: number): void;
  /** Close it. The workers must have stopped. */
  close(): void;
}

/** An overlay's side of the node; one object per overlay. */
export interface NodeOverlay {
  /** Does the kernel route packets between the nodes' pods? Then it needs routes to them (NODES_TABLE). */
  readonly routedByHost: boolean;
  /** Policy routing rules that send the overlay's packets to dp0. */
  hostRules(node: OverlayNode): Rule[];
  /** The same packets as nft matches, for the shortcut from the node's wire to dp0 (underlay/shortcut.ts). */
  shortcutMatches(node: OverlayNode): string[];
  /**
   * The reason a foreign node cannot be reached; undefined if it can.
   * @param backendData the node's flannel.alpha.coreos.com/backend-data
   */
  whyNoPeer(backendData: Readonly<Record<string, unknown>>, cluster: Pick<OverlayOptions, 'vni'>): string | undefined;
  /** Do the workers pass the overlay's packets to a raw socket of the agent? Then `openTunnel` opens it. */
  usesRawSocket(options: Readonly<OverlayOptions>): boolean;
  /** @throws Error, SystemError */
  openTunnel(node: OverlayNode, log: (line: string) => void): Tunnel | undefined;
}
