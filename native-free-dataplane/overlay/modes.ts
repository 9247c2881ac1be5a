/**
 * The overlays by name, with number and overhead: data only, for cluster options, agent and command line. What an
 * overlay does with packets is in a file of its own; overlay.ts selects it.
 */
import { IPV4_MIN_BYTES } from '../wire/ipv4.ts';
import { VXLAN_OVERHEAD_IPV4 } from '../wire/vxlan.ts';

/** Value of NodeWord.OVERLAY. Numbers are stable, because tables outlive the agent that wrote them. */
export const OverlayMode = { VXLAN: 1, IPIP: 2, HOST_GW: 3 } as const;
export type OverlayMode = (typeof OverlayMode)[keyof typeof OverlayMode];

/** Value of the cluster option `overlay`. */
export type OverlayName = 'vxlan' | 'ipip' | 'host-gw';

/** Number and overhead of an overlay. */
export interface OverlayFacts {
  readonly mode: OverlayMode;
  /** Bytes that the overlay adds to the pod's IP packet; the outer Ethernet header does not count. */
  readonly overheadBytes: number;
}

export const OVERLAYS: Readonly<Record<OverlayName, OverlayFacts>> = {
  vxlan: { mode: OverlayMode.VXLAN, overheadBytes: VXLAN_OVERHEAD_IPV4 },
  ipip: { mode: OverlayMode.IPIP, overheadBytes: IPV4_MIN_BYTES },
  'host-gw': { mode: OverlayMode.HOST_GW, overheadBytes: 0 },
};

export const OVERLAY_NAMES: readonly OverlayName[] = Object.keys(OVERLAYS) as OverlayName[];
