/**
 * ARP from pods is answered here for the gateway and every pod of the node, from the cluster's state. Nothing is
 * flooded and nothing is learned from the wire, so ARP cannot be poisoned.
 *
 * Read before editing: RFC 826, RFC 5227 (probes and announcements).
 */
import type { Dataplane } from '../dataplane.ts';
import { HopWord, inNetwork, NodeWord } from '../node/config.ts';
import { HOST_HOP, HopKind, hopAt, hopKind, NO_HOP } from '../node/hops.ts';
import { findRoute } from '../node/routes.ts';
import type { Packet } from '../packet.ts';
import { mapIpv4, sameAddress } from '../shared/address.ts';
import { Verdict } from '../verdicts.ts';
import {
  ARP_BYTES,
  ARP_REQUEST,
  answerArpInPlace,
  arpOperation,
  arpSenderIp,
  arpSenderMacHigh,
  arpSenderMacLow,
  arpTargetIp,
  isEthernetArp,
} from '../wire/arp.ts';
import { isSourceMac, writeDestinationMac, writeSourceMac } from '../wire/ethernet.ts';

/** Turn an ARP request into its reply in place. The pipeline sends it back to the port it came from. */
export function answerArp(pkt: Packet, dp: Dataplane): Verdict {
  const { view, start, l3 } = pkt;
  const { config, hops } = dp.node;
  if (pkt.end - l3 < ARP_BYTES || !isEthernetArp(view, l3)) return Verdict.ARP_MALFORMED;
  if (arpOperation(view, l3) !== ARP_REQUEST) return Verdict.ARP_REPLY_IGNORED;
  if (pkt.inPort === 0 || pkt.tunnelled !== 0) return Verdict.ARP_UNKNOWN_TARGET;

  const port = hopAt(pkt.inPort);
  if (hops[port + HopWord.KIND] !== HopKind.POD) return Verdict.FROM_UNKNOWN_PORT;
  const macHigh = hops[port + HopWord.MAC_HIGH];
  const macLow = hops[port + HopWord.MAC_LOW];
  if (!isSourceMac(view, start, macHigh, macLow)) return Verdict.SPOOFED_SOURCE_MAC;
  if (arpSenderMacHigh(view, l3) !== macHigh || arpSenderMacLow(view, l3) !== macLow) return Verdict.ARP_SPOOFED;
  // A probe (RFC 5227 §1.1) has no sender address yet; any other sender address must be the pod's own.
  const sender = arpSenderIp(view, l3);
  mapIpv4(sender, pkt.src);
  if (sender !== 0 && !sameAddress(pkt.src, hops, port + HopWord.ADDRESS)) return Verdict.ARP_SPOOFED;

  mapIpv4(arpTargetIp(view, l3), pkt.dst);
  const target = ownerOf(pkt.dst, dp);
  if (target === NO_HOP || target === pkt.inPort) return Verdict.ARP_UNKNOWN_TARGET;
  const gateway = target === HOST_HOP;
  const high = gateway ? config[NodeWord.GATEWAY_MAC_HIGH] : hops[hopAt(target) + HopWord.MAC_HIGH];
  const low = gateway ? config[NodeWord.GATEWAY_MAC_LOW] : hops[hopAt(target) + HopWord.MAC_LOW];
  answerArpInPlace(view, l3, high, low);
  writeDestinationMac(view, start, macHigh, macLow);
  writeSourceMac(view, start, high, low);
  pkt.end = l3 + ARP_BYTES;
  pkt.outPort = pkt.inPort;
  return Verdict.ARP_ANSWERED;
}

/** Owner of the address on this segment: HOST_HOP for the gateway, a pod's hop, or NO_HOP. */
function ownerOf(address: Int32Array, { node }: Dataplane): number {
  const { config } = node;
  if (sameAddress(address, config, NodeWord.GATEWAY_IP)) return HOST_HOP;
  if (!inNetwork(config, NodeWord.POD_CIDR, config[NodeWord.POD_CIDR_PREFIX], address)) return NO_HOP;
  const hop = findRoute(node, address, 0);
  return hop !== NO_HOP && hopKind(node, hop) === HopKind.POD ? hop : NO_HOP;
}
