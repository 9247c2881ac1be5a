/**
 * host-gw: the kernel routes between the nodes. What dp0 hands to it for another node's pods leaves by NODES_TABLE; what
 * comes for this node's pods is routed to dp0 anyway. Answers to the gateway's address, the masquerade
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
