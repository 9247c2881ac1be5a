/**
 * A router between the nodes may have a smaller link than the nodes have. It says so about the overlay's packets, which
 * are never fragmented; what fits through is remembered with the node, so that the next pod that sends more than that
 * is told. The agent forgets it again after a while, as routes change (RFC 1191 §6.3).
 *
 * Read before editing: RFC 1191 §4 and §6, RFC 5927 §7 (who may say so); linux net/ipv4/route.c ip_rt_min_pmtu.
 */
import type { Dataplane } from '../dataplane.ts';
import { NodeWord, nextGeneration, Overlay } from '../node/config.ts';
import { HopKind, HopWord, hopAt, hopKind, NO_HOP } from '../node/hops.ts';
import { findRoute } from '../node/routes.ts';
import type { Packet } from '../packet.ts';
import { IPV4_MIN_BYTES, PROTOCOL_IPIP, PROTOCOL_UDP } from '../wire/ipv4.ts';
import { VXLAN_OVERHEAD_IPV4 } from '../wire/vxlan.ts';

/** Less than this nobody's link has; who says so would only have us send crumbs (linux ip_rt_min_pmtu). */
const LEAST_MTU = 552;
const peer: Int32Array = Int32Array.of(0, 0, 0xffff, 0);

/**
 * Believe "fragmentation needed" about a packet of our overlay. The packet is a checked ICMP error (its quote is whole up
 * to eight bytes of the transport header) sent to this node's address, about a connection that is none of the pods'.
 */
export function learnPathMtu(pkt: Packet, dp: Dataplane): void {
  if (pkt.icmpType !== 3 || pkt.icmpCode !== 4) return;
  const { view, l4 } = pkt;
  const { config, hops } = dp.node;
  const mode = config[NodeWord.OVERLAY];
  const quoted = l4 + 8;
  if (view.getInt32(quoted + 12) !== config[NodeWord.NODE_IP + 3]) return;
  const protocol = view.getUint8(quoted + 9);
  const transport = quoted + ((view.getUint8(quoted) & 15) << 2);
  const ours =
    mode === Overlay.VXLAN
      ? protocol === PROTOCOL_UDP && view.getUint16(transport + 2) === config[NodeWord.VXLAN_PORT]
      : mode === Overlay.IPIP && protocol === PROTOCOL_IPIP;
  if (!ours) return;
  peer[3] = view.getInt32(quoted + 16);
  const hop = findRoute(dp.node, peer, 0);
  if (hop === NO_HOP || hopKind(dp.node, hop) !== HopKind.NODE) return;
  const said = view.getUint16(l4 + 6);
  const least = said < LEAST_MTU ? LEAST_MTU : said;
  const mtu = least - (mode === Overlay.VXLAN ? VXLAN_OVERHEAD_IPV4 : IPV4_MIN_BYTES);
  const at = hopAt(hop) + HopWord.MTU;
  if (mtu >= hops[at]) return;
  hops[at] = mtu;
  nextGeneration(dp.node);
}
