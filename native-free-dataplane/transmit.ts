/**
 * The last step of a packet: to a pod, over the overlay, or to the node's kernel, with what each needs in front. Also
 * where a packet becomes several (segments where the kernel cannot take a super-packet whole, IPv4 fragments).
 */

import type { Dataplane } from './dataplane.ts';
import { HopWord, NodeWord } from './node/config.ts';
import { HOST_HOP, HopKind, hopAt, hopKind } from './node/hops.ts';
import { encapsulate, overlayOf, takesSuperPackets } from './overlay/overlay.ts';
import { GSO_NONE, GSO_UDP_L4, type Packet } from './packet.ts';
import { countOut } from './shared/counters.ts';
import { writeHostEthernet, writePodEthernet } from './stages/link-header.ts';
import { completeChecksum, cutFragments, cutSegments, type SegmentTaker } from './stages/segment.ts';
import { Verdict } from './verdicts.ts';

/** Send the packet, whole or in pieces, to `hop`. @returns the packet's verdict */
export function transmit(pkt: Packet, dp: Dataplane, hop: number): Verdict {
  const { hops } = dp.node;
  const at = hopAt(hop);
  const kind = hops[at + HopWord.KIND];
  if (kind === HopKind.NONE) return Verdict.PORT_DOWN;
  const done = kind === HopKind.NODE ? overlayOf(dp).sentAs : kind === HopKind.POD ? Verdict.SENT : Verdict.TO_HOST;

  const mtu = hops[at + HopWord.MTU];
  if (pkt.gsoType !== GSO_NONE) sendSuperPacket(pkt, dp, hop, mtu);
  else if (pkt.end - pkt.l3 > mtu && hop !== HOST_HOP) cutFragments(pkt, dp, hop, mtu, pieces);
  else sendOne(pkt, dp, hop);
  return done;
}

/** Send a super-packet whole, where its link takes it and its segments fit, else in pieces. */
function sendSuperPacket(pkt: Packet, dp: Dataplane, hop: number, mtu: number): void {
  const headers = pkt.headersEnd - pkt.l3;
  let taker = pieces;
  let whole = hopKind(dp.node, hop) !== HopKind.NODE || takesSuperPackets(dp);
  if (pkt.gsoType === GSO_UDP_L4 && !dp.udpSegmentation) whole = false;
  if (headers + pkt.gsoSize > mtu && hop !== HOST_HOP) {
    // Its segments do not fit and have no DF (stages/ttl-mtu.ts). TCP is as well cut smaller; datagrams become fragments.
    if (pkt.gsoType === GSO_UDP_L4) {
      whole = false;
      taker = datagrams;
    } else pkt.gsoSize = mtu - headers;
  }
  if (whole) sendOne(pkt, dp, hop);
  else cutSegments(pkt, dp, hop, taker);
}

/** Put the link's headers in front of one packet that fits, and hand it to the device. */
function sendOne(pkt: Packet, dp: Dataplane, hop: number): void {
  const kind = dp.node.hops[hopAt(hop) + HopWord.KIND];
  pkt.outPort = 0;
  if (kind === HopKind.POD) {
    // A frame between two pods of the segment keeps its source; routed packets come from the gateway.
    const switched = pkt.routed === 0 && pkt.tunnelled === 0 && pkt.inPort !== 0;
    writePodEthernet(pkt, dp, hop, switched ? pkt.inPort : HOST_HOP);
    pkt.outPort = hop;
  } else if (kind === HopKind.NODE) sendToNode(pkt, dp, hop);
  else writeHostEthernet(pkt, dp, pkt.l3);
  countOut(dp.counters, pkt.outPort, pkt.end - pkt.start);
  dp.emitter.emit(pkt);
}

/** To another node, as the overlay does it. */
function sendToNode(pkt: Packet, dp: Dataplane, hop: number): void {
  const overlay = overlayOf(dp);
  // The checksums of a super-packet belong to its segments and are finished where it is cut.
  if (overlay.isTunnel && pkt.gsoType === GSO_NONE) completeChecksum(pkt);
  writeHostEthernet(pkt, dp, encapsulate(pkt, dp, hop));
  pkt.outPort = dp.node.config[NodeWord.TUNNEL_PORT];
}

/** One datagram of a UDP super-packet whose datagrams do not fit. */
function sendFragments(pkt: Packet, dp: Dataplane, hop: number): void {
  const mtu = dp.node.hops[hopAt(hop) + HopWord.MTU];
  if (pkt.end - pkt.l3 <= mtu) sendOne(pkt, dp, hop);
  else cutFragments(pkt, dp, hop, mtu, pieces);
}

const pieces: SegmentTaker = { take: sendOne };
const datagrams: SegmentTaker = { take: sendFragments };
