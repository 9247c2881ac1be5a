/**
 * IPIP: through a raw socket of the agent (raw-socket-tunnel.ts), or through dp0 and the node's kernel. A raw socket
 * gets its packets directly from the kernel, so they must not be routed to dp0.
 */
import { PROTOCOL_IPIP } from '../../../native-free-dataplane/protocols.ts';
import { Preference, TO_DP0_TABLE } from '../underlay/rule-order.ts';
import type { NodeOverlay } from './node-overlay.ts';
import { RawSocketTunnel } from './raw-socket-tunnel.ts';

export const ipip: NodeOverlay = {
  routedByHost: false,
  hostRules: ({ nodeIP: to, underlayDevice: from, ipipTransport }) =>
    ipipTransport === 'dp0'
      ? [{ preference: Preference.TO_DP0, from, to, protocol: PROTOCOL_IPIP, action: { table: TO_DP0_TABLE } }]
      : [],
  shortcutMatches: ({ nodeIP, ipipTransport }) =>
    ipipTransport === 'dp0' ? [`ip daddr ${nodeIP} ip protocol ${PROTOCOL_IPIP}`] : [],
  whyNoPeer: () => undefined,
  usesRawSocket: ({ ipipTransport }) => ipipTransport === 'raw-socket',
  openTunnel: ({ nodeName, nodeIP, workers, ipipTransport }, log) =>
    ipipTransport === 'raw-socket'
      ? new RawSocketTunnel({ nodeName, nodeIP, workers, log, overlay: 'ipip', protocol: PROTOCOL_IPIP })
      : undefined,
};
