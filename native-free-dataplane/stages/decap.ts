/**
 * The overlay in: from a known node, holding a packet that this node could have sent. VXLAN, IPIP, and what the kernels'
 * own routes brought from another node (host-gw).
 *
 * Like every other header, the outer ones are taken off by moving `start`; what the kernel said of the super-packet
 * inside (absolute offsets) stays as it is.
 *
 * Read before editing: RFC 7348 §4.3, §5, §7; RFC 2003 §3; linux drivers/net/vxlan/vxlan_core.c vxlan_rcv (a packet with reserved
 * bits set is dropped there, whatever the RFC says of ignoring them; we do as Linux does).
 */

import type { Dataplane } from '../dataplane.ts';
import { NodeWord, Overlay, routeGeneration } from '../node/config.ts';
import { HopKind, HopWord, hopAt, hopKind, NO_HOP } from '../node/hops.ts';
import { findRoute } from '../node/routes.ts';
import { GSO_NONE, GSO_TCPV4, type Packet } from '../packet.ts';
import { Verdict } from '../verdicts.ts';
import { finishChecksum, pseudoHeaderSum, sumBytes } from '../wire/checksum.ts';
import { ETHERTYPE_IPV4 } from '../wire/ethernet.ts';
import { PROTOCOL_IPIP, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ipv4.ts';
import { TCP_CHECKSUM } from '../wire/tcp.ts';

const UDP_BYTES = 8;
const VXLAN_BYTES = 8;
/** Flags word with only the "VNI is valid" bit (RFC 7348 §5). */
const VXLAN_FLAGS_WORD = 0x08000000;

/** Is this packet, parsed and from the host, addressed to our end of the overlay? */
export function isOverlay(pkt: Packet, dp: Dataplane): boolean {
  const { config } = dp.node;
  const mode = config[NodeWord.OVERLAY];
  return (
    ((pkt.protocol === PROTOCOL_UDP && mode === Overlay.VXLAN && pkt.dstPort === config[NodeWord.VXLAN_PORT]) ||
      (pkt.protocol === PROTOCOL_IPIP && mode === Overlay.IPIP)) &&
    pkt.dst[3] === config[NodeWord.NODE_IP + 3] &&
    pkt.fragmentOffset === 0 &&
    pkt.moreFragments === 0
  );
}

/** Take the outer headers off. GO_ON leaves the inner frame unparsed, with pkt.tunnelled and pkt.tunnelNode set. */
export function decapsulate(pkt: Packet, dp: Dataplane): Verdict {
  return pkt.protocol === PROTOCOL_IPIP ? decapsulateIpip(pkt, dp) : decapsulateVxlan(pkt, dp);
}

/** IPIP has no inner Ethernet header: one is written over the outer headers' end, as a node's VTEP would have sent it. */
function decapsulateIpip(pkt: Packet, dp: Dataplane): Verdict {
  const hop = peerHop(pkt, dp);
  if (hop === NO_HOP || !isNodeAddress(pkt, dp, hop)) return Verdict.IPIP_UNKNOWN_PEER;
  // No offload header can speak of a packet inside IPIP but a pending checksum's.
  if (pkt.gsoType !== 0) return Verdict.OFFLOAD_INVALID;
  const { view, l4 } = pkt;
  const { config } = dp.node;
  const at = l4 - 14;
  view.setUint16(at, config[NodeWord.GATEWAY_MAC_HIGH]);
  view.setInt32(at + 2, config[NodeWord.GATEWAY_MAC_LOW]);
  view.setUint16(at + 6, 0x0200);
  view.setUint32(at + 8, 0);
  view.setUint16(at + 12, ETHERTYPE_IPV4);
  pkt.start = at;
  pkt.tunnelled = 1;
  pkt.tunnelNode = hop;
  return Verdict.GO_ON;
}

function decapsulateVxlan(pkt: Packet, dp: Dataplane): Verdict {
  const { view, l4 } = pkt;
  const inner = l4 + UDP_BYTES + VXLAN_BYTES;
  if (pkt.end - inner < 14) return Verdict.VXLAN_TRUNCATED;
  if (view.getUint32(l4 + UDP_BYTES) !== VXLAN_FLAGS_WORD) return Verdict.VXLAN_FLAGS;
  const identifier = view.getUint32(l4 + UDP_BYTES + 4);
  if ((identifier & 0xff) !== 0) return Verdict.VXLAN_FLAGS;
  if (identifier >>> 8 !== dp.node.config[NodeWord.VNI]) return Verdict.VXLAN_VNI;

  const hop = peerHop(pkt, dp);
  if (hop === NO_HOP || !isNodeAddress(pkt, dp, hop)) return Verdict.VXLAN_UNKNOWN_PEER;

  if (pkt.gsoType !== 0) {
    // A super-packet inside: the kernel must have told the same of its layers.
    if (pkt.outerL4 !== l4 || pkt.innerL3 !== inner + 14) return Verdict.OFFLOAD_INVALID;
  } else {
    if (pkt.needsChecksum !== 0 && pkt.checksumStart === l4) {
      // Only the outer checksum was pending: the inner packet is complete.
      pkt.needsChecksum = 0;
    } else if (pkt.needsChecksum === 0) {
      const checksum = view.getUint16(l4 + 6);
      if (checksum !== 0) {
        const bytes = pkt.end - l4;
        const sum = sumBytes(view, l4, pkt.end, pseudoHeaderSum(view, pkt.l3, PROTOCOL_UDP, bytes));
        if (finishChecksum(sum) !== 0) return Verdict.VXLAN_CHECKSUM;
      }
    }
  }
  pkt.outerL4 = 0;
  pkt.innerL3 = 0;
  pkt.start = inner;
  pkt.tunnelled = 1;
  pkt.tunnelNode = hop;
  return Verdict.GO_ON;
}

/** Which node's the source is, its own or a pod's of it: the last answer is remembered, as traffic comes in runs. */
function peerHop(pkt: Packet, dp: Dataplane): number {
  const generation = routeGeneration(dp.node);
  if (dp.peerAddress === pkt.src[3] && dp.peerGeneration === generation) return dp.peerHop;
  let hop = findRoute(dp.node, pkt.src, 0);
  if (hop !== NO_HOP && hopKind(dp.node, hop) !== HopKind.NODE) hop = NO_HOP;
  dp.peerAddress = pkt.src[3];
  dp.peerGeneration = generation;
  dp.peerHop = hop;
  return hop;
}

/**
 * After the inner frame was parsed: was it sent to this node's VTEP, and does its source belong to the node that sent
 * it? Asked of every packet; for an established flow the answer is one route look-up that hits the same line.
 */
export function checkInner(pkt: Packet, dp: Dataplane): Verdict {
  const { config } = dp.node;
  const { view, start } = pkt;
  if (
    view.getUint16(start) !== config[NodeWord.GATEWAY_MAC_HIGH] ||
    view.getUint32(start + 2) !== config[NodeWord.GATEWAY_MAC_LOW] >>> 0
  ) {
    return Verdict.VXLAN_INNER_FRAME;
  }
  const overIpip = config[NodeWord.OVERLAY] === Overlay.IPIP;
  if (findRoute(dp.node, pkt.src, 0) !== pkt.tunnelNode) {
    return overIpip ? Verdict.IPIP_INNER_SOURCE : Verdict.VXLAN_INNER_SOURCE;
  }
  return overIpip && pkt.gsoType === GSO_NONE ? adoptMerged(pkt, dp) : Verdict.GO_ON;
}

/**
 * A raw socket is given packets as the kernel holds them: what its receive offload merged, or what a sender on the same
 * machine never cut, is larger than the overlay's MTU, its checksum is the pseudo-header's sum, and nothing says so.
 * Segments of TCP may be cut anew at any size that fits; where one datagram ended and the next began is lost.
 */
function adoptMerged(pkt: Packet, dp: Dataplane): Verdict {
  const mtu = dp.node.hops[hopAt(pkt.tunnelNode) + HopWord.MTU];
  if (pkt.end - pkt.l3 <= mtu || pkt.needsChecksum !== 0) return Verdict.GO_ON;
  if (pkt.protocol !== PROTOCOL_TCP || pkt.fragmentOffset !== 0) return Verdict.OFFLOAD_INVALID;
  pkt.needsChecksum = 1;
  pkt.checksumStart = pkt.l4;
  pkt.checksumOffset = TCP_CHECKSUM;
  pkt.gsoType = GSO_TCPV4;
  pkt.gsoSize = mtu - (pkt.headersEnd - pkt.l3);
  return Verdict.GO_ON;
}

/**
 * Without an overlay the node's kernel hands over what came from another node like anything else: here it gets the
 * mark of a packet of the overlay. Who sent it is known by its source alone: the underlay has to be trusted.
 */
export function markPeer(pkt: Packet, dp: Dataplane): void {
  if (dp.node.config[NodeWord.OVERLAY] !== Overlay.HOST_GW) return;
  const hop = peerHop(pkt, dp);
  if (hop === NO_HOP || isNodeAddress(pkt, dp, hop)) return;
  pkt.tunnelled = 1;
  pkt.tunnelNode = hop;
}

/** Is the source the node's own address on the underlay? */
function isNodeAddress(pkt: Packet, dp: Dataplane, hop: number): boolean {
  return dp.node.hops[hopAt(hop) + HopWord.ADDRESS + 3] === pkt.src[3];
}
