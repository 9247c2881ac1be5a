/**
 * VXLAN in: from a known node, with our network identifier, holding a frame that this node could have sent.
 *
 * Like every other header, the outer ones are taken off by moving `start`; what the kernel said of the super-packet
 * inside (absolute offsets) stays as it is.
 *
 * Read before editing: RFC 7348 §4.3, §5, §7; linux drivers/net/vxlan/vxlan_core.c vxlan_rcv (a packet with reserved
 * bits set is dropped there, whatever the RFC says of ignoring them; we do as Linux does).
 */

import type { Dataplane } from '../dataplane.ts';
import { finishChecksum, pseudoHeaderSum, sumBytes } from '../frame/checksum.ts';
import { PROTOCOL_UDP } from '../frame/ipv4.ts';
import type { Packet } from '../packet.ts';
import { HopKind, hopKind, NO_HOP } from '../tables/hops.ts';
import { NodeWord, Overlay, routeGeneration } from '../tables/node.ts';
import { findRoute } from '../tables/routes.ts';
import { Verdict } from '../verdicts.ts';

const UDP_BYTES = 8;
const VXLAN_BYTES = 8;
/** Flags word with only the "VNI is valid" bit (RFC 7348 §5). */
const VXLAN_FLAGS_WORD = 0x08000000;

/** Is this packet, parsed and from the host, addressed to our VTEP? */
export function isOverlay(pkt: Packet, dp: Dataplane): boolean {
  const { config } = dp.node;
  return (
    pkt.protocol === PROTOCOL_UDP &&
    pkt.dstPort === config[NodeWord.VXLAN_PORT] &&
    pkt.dst[3] === config[NodeWord.NODE_IP + 3] &&
    config[NodeWord.OVERLAY] === Overlay.VXLAN &&
    pkt.fragmentOffset === 0 &&
    pkt.moreFragments === 0
  );
}

/** Take the outer headers off. GO_ON leaves the inner frame unparsed, with pkt.tunnelled and pkt.tunnelNode set. */
export function decapsulate(pkt: Packet, dp: Dataplane): Verdict {
  const { view, l4 } = pkt;
  const inner = l4 + UDP_BYTES + VXLAN_BYTES;
  if (pkt.end - inner < 14) return Verdict.VXLAN_TRUNCATED;
  if (view.getUint32(l4 + UDP_BYTES) !== VXLAN_FLAGS_WORD) return Verdict.VXLAN_FLAGS;
  const identifier = view.getUint32(l4 + UDP_BYTES + 4);
  if ((identifier & 0xff) !== 0) return Verdict.VXLAN_FLAGS;
  if (identifier >>> 8 !== dp.node.config[NodeWord.VNI]) return Verdict.VXLAN_VNI;

  const hop = peerHop(pkt, dp);
  if (hop === NO_HOP) return Verdict.VXLAN_UNKNOWN_PEER;

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

/** Which node sent it: the last answer is remembered, as traffic comes in runs. */
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
  return findRoute(dp.node, pkt.src, 0) === pkt.tunnelNode ? Verdict.GO_ON : Verdict.VXLAN_INNER_SOURCE;
}
