/**
 * The overlay of this node, whichever it is: the only place that chooses one. A new overlay is a file in this folder, a
 * row in modes.ts and a line here.
 *
 * A switch and not a table of objects: V8 then knows which three functions a call may lead to, and inlines them.
 */
import type { Dataplane } from '../dataplane.ts';
import { NodeWord } from '../node/config.ts';
import { HopKind, hopKind } from '../node/hops.ts';
import type { Packet } from '../packet.ts';
import { sameAddress } from '../shared/address.ts';
import { hostGw } from './host-gw.ts';
import { ipip } from './ipip.ts';
import { OverlayMode } from './modes.ts';
import type { PacketOverlay } from './packet-overlay.ts';
import { vxlan } from './vxlan.ts';

/** The overlay in use. */
export function overlayOf(dp: Dataplane): PacketOverlay {
  switch (dp.node.config[NodeWord.OVERLAY]) {
    case OverlayMode.VXLAN:
      return vxlan;
    case OverlayMode.IPIP:
      return ipip;
    default:
      return hostGw;
  }
}

/** Is this parsed packet off the node's wire one of the overlay's, whole and sent to this node? */
export function isTunnelPacket(pkt: Packet, dp: Dataplane): boolean {
  return (
    overlayOf(dp).isTunnelPacket(pkt, dp) &&
    sameAddress(pkt.dst, dp.node.config, NodeWord.NODE_IP) &&
    pkt.fragmentOffset === 0 &&
    pkt.moreFragments === 0
  );
}

/** Another node, to which the kernel's own routes lead? False for NO_HOP. */
export function isRoutedByHost(dp: Dataplane, hop: number): boolean {
  return hop >= 0 && hopKind(dp.node, hop) === HopKind.NODE && !overlayOf(dp).isTunnel;
}
