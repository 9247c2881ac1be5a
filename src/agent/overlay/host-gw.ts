/**
 * host-gw: the kernel routes between the nodes. Packets that dp0 hands to it for another node's pods leave by
 * NODES_TABLE; packets for this node's pods are routed to dp0 anyway. Replies to the gateway's address, the masquerade
 * address of NodePort clients, need a rule.
 */
import { gatewayOf } from '../../net/pod-network.ts';
import { HOST_DEVICE, NODES_TABLE, Preference, TO_DP0_TABLE } from '../underlay/rule-order.ts';
import type { NodeOverlay } from './node-overlay.ts';

export const hostGw: NodeOverlay = {
  routedByHost: true,
  hostRules: ({ podCIDR, underlayDevice: from }) => [
    { preference: Preference.TO_NODES, from: HOST_DEVICE, action: { table: NODES_TABLE } },
    { preference: Preference.TO_DP0, from, to: gatewayOf(podCIDR), action: { table: TO_DP0_TABLE } },
  ],
  shortcutMatches: ({ podCIDR }) => [`ip daddr ${podCIDR}`],
  whyNoPeer: () => undefined,
  usesRawSocket: () => false,
  openTunnel: () => undefined,
};
