/**
 * The overlays there are: number, name and overhead of each. Data only, for the API's options, the agent and the
 * command line. The packets' side of each is in its own file beside this one; overlay.ts joins them.
 */
import { IPV4_MIN_BYTES } from '../wire/ipv4.ts';
import { VXLAN_OVERHEAD_IPV4 } from '../wire/vxlan.ts';

/** Value of NodeWord.OVERLAY. Numbers are stable: worker and agent of different builds may share a node's memory. */
export const OverlayMode = { VXLAN: 1, IPIP: 2, HOST_GW: 3 } as const;
export type OverlayMode = (typeof OverlayMode)[keyof typeof OverlayMode];

/** Value of the cluster option `overlay`. */
export type OverlayName = 'vxlan' | 'ipip' | 'host-gw';

export interface OverlayFacts {
  readonly mode: OverlayMode;
  /** Bytes in front of the pod's IP packet, the frame's own Ethernet header aside. */
  readonly overheadBytes: number;
}

export const OVERLAYS: Readonly<Record<OverlayName, OverlayFacts>> = {
  vxlan: { mode: OverlayMode.VXLAN, overheadBytes: VXLAN_OVERHEAD_IPV4 },
  ipip: { mode: OverlayMode.IPIP, overheadBytes: IPV4_MIN_BYTES },
  'host-gw': { mode: OverlayMode.HOST_GW, overheadBytes: 0 },
};

export const OVERLAY_NAMES: readonly OverlayName[] = Object.keys(OVERLAYS) as OverlayName[];
