/**
 * The overlays by name: data only. The command line takes its names from here, the API the annotations of nodes, the
 * agent the rules and routes around the pipeline (src/agent/overlay/). What an overlay does with packets is in a file
 * of its own; overlay.ts selects it.
 */
import { PROTOCOL_IPIP, PROTOCOL_UDP } from '../protocols.ts';
import { IPV4_MIN_BYTES } from '../wire/ipv4.ts';
import { VXLAN_OVERHEAD_IPV4 } from '../wire/vxlan.ts';

/** Value of NodeWord.OVERLAY. Numbers are stable, because tables outlive the agent that wrote them. */
export const OverlayMode = { VXLAN: 1, IPIP: 2, HOST_GW: 3 } as const;
export type OverlayMode = (typeof OverlayMode)[keyof typeof OverlayMode];

/** Value of the cluster option `overlay`. */
export type OverlayName = 'vxlan' | 'ipip' | 'host-gw';

/** The cluster options that belong to an overlay. */
export interface OverlaySettings {
  /** IPIP packets go through a raw socket of the agent, or through dp0 and the node's kernel. */
  ipipTransport: 'raw-socket' | 'dp0';
  vxlanPort: number;
  vni: number;
}

/** How a tunnel's packets are recognised, and what carries them. They are sent to the other node's address. */
export interface TunnelFacts {
  /** IP protocol. */
  readonly protocol: number;
  /** The option with the UDP destination port. */
  readonly port?: 'vxlanPort';
  /** The option that has a raw socket of the agent carry the packets. Without one, dp0 and the node's kernel do. */
  readonly transport?: 'ipipTransport';
}

/** An overlay, as seen from outside the pipeline. */
export interface OverlayFacts {
  readonly mode: OverlayMode;
  /** Bytes that the overlay adds to the pod's IP packet; the outer Ethernet header does not count. */
  readonly overheadBytes: number;
  /** Absent: no headers are added, and the nodes' kernels route the packets of pods to each other. */
  readonly tunnel?: TunnelFacts;
  /** Super-packets leave in trains (train.ts) where the node's kernel does not accept them in the tunnel. */
  readonly inTrains?: true;
  /**
   * What nodes publish for flannel in `backend-data`, by flannel's names: an option, on which all nodes must agree, or
   * the MAC of the node's VTEP. Absent: flannel's backend of this name has no data.
   */
  readonly backendData?: Readonly<Record<string, 'vni' | 'vtepMac'>>;
}

export const OVERLAYS: Readonly<Record<OverlayName, OverlayFacts>> = {
  vxlan: {
    mode: OverlayMode.VXLAN,
    overheadBytes: VXLAN_OVERHEAD_IPV4,
    tunnel: { protocol: PROTOCOL_UDP, port: 'vxlanPort' },
    inTrains: true,
    backendData: { VNI: 'vni', VtepMAC: 'vtepMac' },
  },
  ipip: {
    mode: OverlayMode.IPIP,
    overheadBytes: IPV4_MIN_BYTES,
    tunnel: { protocol: PROTOCOL_IPIP, transport: 'ipipTransport' },
  },
  'host-gw': { mode: OverlayMode.HOST_GW, overheadBytes: 0 },
};

export const OVERLAY_NAMES: readonly OverlayName[] = Object.keys(OVERLAYS) as OverlayName[];

/** The overlay of a table; undefined if a newer agent wrote it. @param mode its NodeWord.OVERLAY */
export function overlayNamed(mode: number): OverlayName | undefined {
  return OVERLAY_NAMES.find((name) => OVERLAYS[name].mode === mode);
}
