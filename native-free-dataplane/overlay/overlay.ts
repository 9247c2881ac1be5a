/**
 * The overlay of this node, whichever it is: the only place that chooses one. A new overlay is a file in this folder, a
 * row in modes.ts and a case in each switch here.
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

/**
 * Put the headers to another node in front of the packet, as the overlay does. Written out, not `overlayOf(dp).encapsulate`:
 * V8 inlines a function that it knows (ClusterIP to another node: 202 → 177 ns, V8 11.3).
 * @returns where the outermost IP header starts
 */
export function encapsulate(pkt: Packet, dp: Dataplane, hop: number): number {
  switch (dp.node.config[NodeWord.OVERLAY]) {
    case OverlayMode.VXLAN:
      return vxlan.encapsulate(pkt, dp, hop);
    case OverlayMode.IPIP:
      return ipip.encapsulate(pkt, dp, hop);
    default:
      return hostGw.encapsulate(pkt, dp, hop);
  }
}

/** Can the node's kernel take a super-packet to another node whole? */
export function takesSuperPackets(dp: Dataplane): boolean {
  switch (dp.node.config[NodeWord.OVERLAY]) {
    case OverlayMode.VXLAN:
      return vxlan.takesSuperPackets(dp);
    case OverlayMode.IPIP:
      return ipip.takesSuperPackets(dp);
    default:
      return hostGw.takesSuperPackets(dp);
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
