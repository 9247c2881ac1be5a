/**
 * The node around an overlay, made from the overlay's data (native-free-dataplane/overlay/modes.ts): policy routing and
 * nft matches that hand its packets to dp0, and the raw socket that may carry them instead. No overlay is named here.
 */
import { OVERLAYS, type OverlayFacts } from '../../../native-free-dataplane/overlay/modes.ts';
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import { type OverlayOptions, usesRawSocket } from '../../api/cluster-options.ts';
import type { Rule } from '../../linux/rules.ts';
import { gatewayOf } from '../../net/pod-network.ts';
import { HOST_DEVICE, NODES_TABLE, Preference, TO_DP0_TABLE } from '../underlay/rule-order.ts';
import { RawSocketTunnel } from './raw-socket-tunnel.ts';

/** The node's configuration as far as overlays depend on it. */
export interface OverlayNode extends Readonly<OverlayOptions> {
  readonly nodeName: string;
  readonly nodeIP: string;
  readonly podCIDR: string;
  readonly underlayDevice: string;
  readonly workers: number;
}

/** Does the kernel route packets between the nodes' pods? Then it needs routes to them (NODES_TABLE). */
export function isRoutedByKernel({ overlay }: Pick<OverlayNode, 'overlay'>): boolean {
  return OVERLAYS[overlay].tunnel === undefined;
}

/**
 * Policy routing rules that send the overlay's packets to dp0. A raw socket gets its packets directly from the kernel,
 * so they must not be routed to dp0.
 *
 * Without a tunnel, packets that dp0 hands to the kernel for another node's pods leave by NODES_TABLE; packets for this
 * node's pods are routed to dp0 anyway. Replies to the gateway's address, the masquerade address of NodePort clients,
 * need a rule.
 */
export function overlayRules(node: OverlayNode, { tunnel }: OverlayFacts = OVERLAYS[node.overlay]): Rule[] {
  const { nodeIP, podCIDR, underlayDevice: from } = node;
  const toDp0 = { preference: Preference.TO_DP0, from, action: { table: TO_DP0_TABLE } };
  if (tunnel === undefined)
    return [
      { preference: Preference.TO_NODES, from: HOST_DEVICE, action: { table: NODES_TABLE } },
      { ...toDp0, to: gatewayOf(podCIDR) },
    ];
  if (usesRawSocket(node)) return [];
  const port = tunnel.port && node[tunnel.port];
  return [{ ...toDp0, to: nodeIP, protocol: tunnel.protocol, ...(port !== undefined && { ports: [port, port] }) }];
}

/** The same packets as nft matches, for the shortcut from the node's wire to dp0 (underlay/shortcut.ts). */
export function overlayMatches(node: OverlayNode, { tunnel }: OverlayFacts = OVERLAYS[node.overlay]): string[] {
  if (tunnel === undefined) return [`ip daddr ${node.podCIDR}`];
  if (usesRawSocket(node)) return [];
  const { protocol, port } = tunnel;
  const which = port === undefined ? `ip protocol ${protocol}` : `${protocolName(protocol)} dport ${node[port]}`;
  return [`ip daddr ${node.nodeIP} ${which}`];
}

/** The raw socket that carries the overlay's packets; undefined if they go through dp0. @throws Error, SystemError */
export function openTunnel(node: OverlayNode, log: (line: string) => void): RawSocketTunnel | undefined {
  const { tunnel } = OVERLAYS[node.overlay];
  if (tunnel === undefined || !usesRawSocket(node)) return undefined;
  const { nodeName, nodeIP, workers, overlay } = node;
  return new RawSocketTunnel({ nodeName, nodeIP, workers, overlay, protocol: tunnel.protocol, log });
}
