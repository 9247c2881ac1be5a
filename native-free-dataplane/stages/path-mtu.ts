/**
 * A router between the nodes may have a link smaller than theirs. It reports that about the overlay's packets, which are
 * never fragmented; the MTU is kept with the node's hop, so that the next pod that sends more gets an ICMP error of its
 * own. The agent resets it after a while, as routes change (RFC 1191 §6.3).
 *
 * Read before editing: RFC 1191 §4 and §6, RFC 5927 §7 (forged reports); linux net/ipv4/route.c ip_rt_min_pmtu.
 */
import type { Dataplane } from '../dataplane.ts';
import { NodeWord, nextGeneration } from '../node/config.ts';
import { HopKind, HopWord, hopAt, hopKind, NO_HOP } from '../node/hops.ts';
import { findRoute } from '../node/routes.ts';
import { overlayOf } from '../overlay/overlay.ts';
import type { Packet } from '../packet.ts';

/** Smaller reported MTUs count as this one: implausible, and a way to force tiny packets on us (linux ip_rt_min_pmtu). */
const LEAST_MTU = 552;
const peer: Int32Array = Int32Array.of(0, 0, 0xffff, 0);

/**
 * Take over the MTU of a "fragmentation needed" about a packet of our overlay. The packet is a checked ICMP error (its quote is whole up
 * to eight bytes of the transport header) sent to this node's address, about a connection that is none of the pods'.
 */
export function learnPathMtu(pkt: Packet, dp: Dataplane): void {
  if (pkt.icmpType !== 3 || pkt.icmpCode !== 4) return;
  const { view, l4 } = pkt;
  const { config, hops } = dp.node;
  const overlay = overlayOf(dp);
  const quoted = l4 + 8;
  if (view.getInt32(quoted + 12) !== config[NodeWord.NODE_IP + 3]) return;
  const transport = quoted + ((view.getUint8(quoted) & 15) << 2);
  if (!overlay.isQuoted(view, quoted, transport, config)) return;
  peer[3] = view.getInt32(quoted + 16);
  const hop = findRoute(dp.node, peer, 0);
  if (hop === NO_HOP || hopKind(dp.node, hop) !== HopKind.NODE) return;
  const reported = view.getUint16(l4 + 6);
  const mtu = (reported < LEAST_MTU ? LEAST_MTU : reported) - overlay.overheadBytes;
  const at = hopAt(hop) + HopWord.MTU;
  if (mtu >= hops[at]) return;
  hops[at] = mtu;
  nextGeneration(dp.node);
}
