/**
 * The last step: write the headers that the next hop needs (a pod, another node, the node's kernel) and hand the frame
 * to the emitter. Packets are cut here: super-packets into segments if the receiver cannot take them whole, and packets
 * larger than the MTU into IPv4 fragments.
 */
import type { Dataplane } from './dataplane.ts';
import { HopWord, NodeWord } from './node/config.ts';
import { HOST_HOP, HopKind, hopAt, hopKind } from './node/hops.ts';
import { encapsulate, overlayOf, takesSuperPackets } from './overlay/overlay.ts';
import { GSO_NONE, GSO_UDP_L4, type Packet } from './packet.ts';
import { countOut } from './shared/counters.ts';
import { writeHostEthernet, writePodEthernet } from './stages/link-header.ts';
import { completeChecksum, cutFragments, cutSegments, type SegmentTaker } from './stages/segment.ts';
import { sendTrains } from './train.ts';
import { Verdict } from './verdicts.ts';

/**
 * Send the packet to `hop`, whole or in pieces. stages/ttl-mtu.ts has checked that it may be fragmented if it has to
 * be.
 * @returns the packet's verdict: SENT, TO_HOST, the overlay's, or PORT_DOWN if the hop no longer exists
 */
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

/** Send a super-packet whole if the next hop accepts it and its segments fit the MTU, else in pieces. */
function sendSuperPacket(pkt: Packet, dp: Dataplane, hop: number, mtu: number): void {
  const headers = pkt.headersEnd - pkt.l3;
  let taker = pieces;
  let whole = hopKind(dp.node, hop) !== HopKind.NODE || takesSuperPackets(dp);
  if (pkt.gsoType === GSO_UDP_L4 && !dp.udpSegmentation) whole = false;
  if (headers + pkt.gsoSize > mtu && hop !== HOST_HOP) {
    // The segments exceed the MTU, and have no DF (stages/ttl-mtu.ts). TCP is cut into smaller segments; UDP datagrams
    // have to keep their size and are fragmented.
    if (pkt.gsoType === GSO_UDP_L4) {
      whole = false;
      taker = datagrams;
    } else pkt.gsoSize = mtu - headers;
  }
  if (whole) sendOne(pkt, dp, hop);
  else if (taker === pieces && hopKind(dp.node, hop) === HopKind.NODE && overlayOf(dp).sendsTrains(dp)) {
    sendTrains(pkt, dp, hop);
  } else cutSegments(pkt, dp, hop, taker);
}

/** Send one packet that fits the MTU: write its link headers and hand it to the emitter. */
function sendOne(pkt: Packet, dp: Dataplane, hop: number): void {
  const kind = dp.node.hops[hopAt(hop) + HopWord.KIND];
  pkt.outPort = 0;
  if (kind === HopKind.POD) {
    // A frame switched between two pods keeps its source MAC; a routed packet gets the gateway's.
    const switched = pkt.routed === 0 && pkt.tunnelled === 0 && pkt.inPort !== 0;
    writePodEthernet(pkt, dp, hop, switched ? pkt.inPort : HOST_HOP);
    pkt.outPort = hop;
  } else if (kind === HopKind.NODE) sendToNode(pkt, dp, hop);
  else writeHostEthernet(pkt, dp, pkt.l3);
  countOut(dp.counters, pkt.outPort, pkt.end - pkt.start);
  dp.emitter.emit(pkt);
}

/** Encapsulate a packet for another node, and choose the port it leaves by. */
function sendToNode(pkt: Packet, dp: Dataplane, hop: number): void {
  const overlay = overlayOf(dp);
  // A pending checksum cannot stay pending inside a tunnel. Those of a super-packet are completed where it is
  // segmented.
  if (overlay.isTunnel && pkt.gsoType === GSO_NONE) completeChecksum(pkt);
  writeHostEthernet(pkt, dp, encapsulate(pkt, dp, hop));
  pkt.outPort = dp.node.config[NodeWord.TUNNEL_PORT];
}

/** Send one datagram of a UDP super-packet, fragmented if it exceeds the MTU. */
function sendFragments(pkt: Packet, dp: Dataplane, hop: number): void {
  const mtu = dp.node.hops[hopAt(hop) + HopWord.MTU];
  if (pkt.end - pkt.l3 <= mtu) sendOne(pkt, dp, hop);
  else cutFragments(pkt, dp, hop, mtu, pieces);
}

const pieces: SegmentTaker = { take: sendOne };
const datagrams: SegmentTaker = { take: sendFragments };
