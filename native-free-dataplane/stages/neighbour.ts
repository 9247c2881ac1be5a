/**
 * ARP from pods: answered here for the gateway and for every pod of the node, from the cluster's state. Nothing is
 * flooded and nothing is learned from the wire, so there is nothing to poison.
 *
 * Read before editing: RFC 826, RFC 5227 (probes and announcements).
 */
import type { Dataplane } from '../dataplane.ts';
import { inNetwork, NodeWord } from '../node/config.ts';
import { HopKind, HopWord, hopAt, NO_HOP } from '../node/hops.ts';
import { findRoute } from '../node/routes.ts';
import type { Packet } from '../packet.ts';
import { Verdict } from '../verdicts.ts';

const ARP_BYTES = 28;
/** Hardware type Ethernet, protocol IPv4, sizes 6 and 4: the first six bytes of every ARP packet we understand. */
const REQUEST = 1;

/** Answer an ARP request in place. The answer goes back to the port it came from. */
export function answerArp(pkt: Packet, dp: Dataplane): Verdict {
  const { view, start, l3 } = pkt;
  const { config, hops } = dp.node;
  if (pkt.end - l3 < ARP_BYTES) return Verdict.ARP_MALFORMED;
  if (view.getUint32(l3) !== 0x00010800 || view.getUint16(l3 + 4) !== 0x0604) return Verdict.ARP_MALFORMED;
  if (view.getUint16(l3 + 6) !== REQUEST) return Verdict.ARP_REPLY_IGNORED;
  if (pkt.inPort === 0 || pkt.tunnelled !== 0) return Verdict.ARP_UNKNOWN_TARGET;

  const port = hopAt(pkt.inPort);
  if (hops[port + HopWord.KIND] !== HopKind.POD) return Verdict.FROM_UNKNOWN_PORT;
  const macLow = hops[port + HopWord.MAC_LOW] >>> 0;
  const macHigh = hops[port + HopWord.MAC_HIGH];
  if (view.getUint16(start + 6) !== macHigh || view.getUint32(start + 8) !== macLow) return Verdict.SPOOFED_SOURCE_MAC;
  if (view.getUint16(l3 + 8) !== macHigh || view.getUint32(l3 + 10) !== macLow) return Verdict.ARP_SPOOFED;
  const sender = view.getInt32(l3 + 14);
  const own = hops[port + HopWord.ADDRESS + 3];
  // A probe (RFC 5227 §1.1) has no sender address yet; any other must be the pod's own.
  if (sender !== own && sender !== 0) return Verdict.ARP_SPOOFED;

  const target = view.getInt32(l3 + 24);
  if (target === own) return Verdict.ARP_UNKNOWN_TARGET;
  let answerHigh = config[NodeWord.GATEWAY_MAC_HIGH];
  let answerLow = config[NodeWord.GATEWAY_MAC_LOW];
  if (target !== config[NodeWord.GATEWAY_IP + 3]) {
    pkt.dst[0] = 0;
    pkt.dst[1] = 0;
    pkt.dst[2] = 0xffff;
    pkt.dst[3] = target;
    if (!inNetwork(config, NodeWord.POD_CIDR, config[NodeWord.POD_CIDR_PREFIX], pkt.dst))
      return Verdict.ARP_UNKNOWN_TARGET;
    const hop = findRoute(dp.node, pkt.dst, 0);
    if (hop === NO_HOP || hops[hopAt(hop) + HopWord.KIND] !== HopKind.POD) return Verdict.ARP_UNKNOWN_TARGET;
    answerHigh = hops[hopAt(hop) + HopWord.MAC_HIGH];
    answerLow = hops[hopAt(hop) + HopWord.MAC_LOW];
  }

  view.setUint16(start, macHigh);
  view.setUint32(start + 2, macLow);
  view.setUint16(start + 6, answerHigh);
  view.setUint32(start + 8, answerLow);
  view.setUint16(l3 + 6, 2);
  view.setUint16(l3 + 8, answerHigh);
  view.setUint32(l3 + 10, answerLow);
  view.setInt32(l3 + 14, target);
  view.setUint16(l3 + 18, macHigh);
  view.setUint32(l3 + 20, macLow);
  view.setInt32(l3 + 24, sender);
  pkt.end = l3 + ARP_BYTES;
  pkt.outPort = pkt.inPort;
  return Verdict.ARP_ANSWERED;
}
