/** The node's side of each overlay, by its name in the cluster's options. A new overlay adds a line here. */
import type { OverlayName } from '../../../native-free-dataplane/overlay/modes.ts';
import { hostGw } from './host-gw.ts';
import { ipip } from './ipip.ts';
import type { NodeOverlay } from './node-overlay.ts';
import { vxlan } from './vxlan.ts';

export const NODE_OVERLAYS: Readonly<Record<OverlayName, NodeOverlay>> = { vxlan, ipip, 'host-gw': hostGw };
