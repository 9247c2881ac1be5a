/** VXLAN: the node's kernel sends and receives the datagrams; those for the cluster's port are routed to dp0. */
import { PROTOCOL_UDP } from '../../../native-free-dataplane/protocols.ts';
import { Preference, TO_DP0_TABLE } from '../underlay/rule-order.ts';
import type { NodeOverlay } from './node-overlay.ts';

export const vxlan: NodeOverlay = {
  routedByHost: false,
  hostRules: ({ nodeIP: to, underlayDevice: from, vxlanPort }) => [
    {
      preference: Preference.TO_DP0,
      from,
      to,
      protocol: PROTOCOL_UDP,
      ports: [vxlanPort, vxlanPort],
      action: { table: TO_DP0_TABLE },
    },
  ],
  shortcutMatches: ({ nodeIP, vxlanPort }) => [`ip daddr ${nodeIP} udp dport ${vxlanPort}`],
  whyNoPeer: ({ VNI }, { vni }) =>
    typeof VNI === 'number' && VNI !== vni ? `its VNI is ${VNI}, this cluster's is ${vni}` : undefined,
  usesRawSocket: () => false,
  openTunnel: () => undefined,
};
