/**
 * Path MTU between nodes. Overlay packets are never fragmented, so a router with a smaller link reports its MTU to the
 * sending node. That MTU is stored in the other node's hop, and a pod that sends a larger packet there gets an ICMP
 * error itself. The agent resets it after a while, because routes change (RFC 1191 §6.3).
 *
 * Read before editing: RFC 1191 §4 and §6, RFC 5927 §7 (forged reports); linux net/ipv4/route.c ip_rt_min_pmtu.
 */
import type { Dataplane } from '../dataplane.ts';
import { HopWord, NodeWord, nextGeneration } from '../node/config.ts';
import { HopKind, hopAt, hopKind, NO_HOP } from '../node/hops.ts';
import { findRoute } from '../node/routes.ts';
import { overlayOf } from '../overlay/overlay.ts';
import type { Packet } from '../packet.ts';
import { ADDRESS_WORDS, sameAddress } from '../shared/address.ts';
import { ICMP_BYTES, ICMP_UNREACHABLE, icmpMtu, UNREACHABLE_FRAGMENTATION_NEEDED } from '../wire/icmp.ts';
import { readAddresses, totalBytes, transportAt } from '../wire/ip.ts';
import { IPV4_MIN_BYTES } from '../wire/ipv4.ts';

/**
 * Smaller reported MTUs are raised to one that leaves pods this one: they are implausible, and a way to force tiny
 * packets on us. A pod's kernel accepts nothing smaller either, and would keep sending larger packets without DF (linux
 * ip_rt_min_pmtu).
 */
const LEAST_MTU = 552;
/**
 * The same for a report that quotes too little to tell whether the packet was sent, as anybody can make one: what IPv6
 * requires of every link (RFC 8200 §5).
 */
const LEAST_UNVERIFIED_MTU = 1280;
/** Addresses of the quoted packet; filled and used within one call. */
const sender: Int32Array = new Int32Array(ADDRESS_WORDS);
const peer: Int32Array = new Int32Array(ADDRESS_WORDS);

/**
 * If this is a "fragmentation needed" about a packet of the overlay from this node to another, that node's hop; NO_HOP
 * otherwise. The packet is a checked ICMP error (with at least eight bytes of the quoted transport header) sent to this
 * node's address, about no connection of a pod.
 */
export function reportedHop(pkt: Packet, dp: Dataplane): number {
  if (pkt.icmpType !== ICMP_UNREACHABLE || pkt.icmpCode !== UNREACHABLE_FRAGMENTATION_NEEDED) return NO_HOP;
  const { view, l4 } = pkt;
  const { config } = dp.node;
  const quoted = l4 + ICMP_BYTES;
  readAddresses(view, quoted, sender, peer);
  if (!sameAddress(sender, config, NodeWord.NODE_IP)) return NO_HOP;
  if (!overlayOf(dp).isOverlayPacket(view, quoted, transportAt(view, quoted), config)) return NO_HOP;
  const hop = findRoute(dp.node, peer, 0);
  return hop !== NO_HOP && hopKind(dp.node, hop) === HopKind.NODE ? hop : NO_HOP;
}

/** Offset of the packet inside the quoted overlay packet, maybe beyond what is quoted. */
export function quotedInner(pkt: Packet, dp: Dataplane): number {
  return transportAt(pkt.view, pkt.l4 + ICMP_BYTES) + overlayOf(dp).overheadBytes - IPV4_MIN_BYTES;
}

/**
 * Store the MTU that such an error reports for `hop`.
 * @param verified the packet inside is one that was sent to that node
 */
export function learnPathMtu(pkt: Packet, dp: Dataplane, hop: number, verified: boolean): void {
  const { view, l4 } = pkt;
  const { hops } = dp.node;
  const quoted = l4 + ICMP_BYTES;
  const reported = icmpMtu(view, l4);
  // The quoted packet must be larger than the reported MTU. The quote is truncated, so its IP header gives the length.
  if (totalBytes(view, quoted) <= reported) return;
  const least = verified ? LEAST_MTU : LEAST_UNVERIFIED_MTU;
  const inner = reported - overlayOf(dp).overheadBytes;
  const mtu = inner < least ? least : inner;
  const at = hopAt(hop) + HopWord.MTU;
  if (mtu >= hops[at]) return;
  hops[at] = mtu;
  nextGeneration(dp.node);
}
