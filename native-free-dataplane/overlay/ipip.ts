/**
 * IPIP: an IPv4 header to the other node in front of the packet, 20 bytes. There is no inner Ethernet header, and no
 * offload header of the kernel's describes a super-packet inside IPIP, so super-packets are cut first.
 *
 * By dp0 the node's kernel sends the packet as it leaves here; by a raw socket (NodeWord.TUNNEL_PORT) it goes to the agent's
 * main thread, whose kernel writes the same outer header again (src/devices/ring-port.ts).
 *
 * Read before editing: RFC 2003 §3.
 */
import type { Dataplane } from '../dataplane.ts';
import { HopWord, NodeWord } from '../node/config.ts';
import { hopAt, NO_HOP } from '../node/hops.ts';
import { GSO_NONE, GSO_TCPV4, type Packet } from '../packet.ts';
import { PROTOCOL_IPIP, PROTOCOL_TCP } from '../protocols.ts';
import { Verdict } from '../verdicts.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_IPV4,
  writeDestinationMac,
  writeEthernetType,
  writeSourceMac,
} from '../wire/ethernet.ts';
import { transportProtocol } from '../wire/ip.ts';
import { IPV4_MIN_BYTES } from '../wire/ipv4.ts';
import { TCP_CHECKSUM } from '../wire/tcp.ts';
import { isChecksumPending } from '../wire/transport-checksum.ts';
import { OVERLAYS } from './modes.ts';
import { writeOuterIpv4 } from './outer-ipv4.ts';
import type { PacketOverlay } from './packet-overlay.ts';
import { isFromTunnelNode, tunnelPeer } from './peers.ts';

/** Ethernet source of packets out of the tunnel: a locally administered address, as there was no Ethernet header. */
const PEER_MAC_HIGH = 0x0200;

export const ipip: PacketOverlay = {
  overheadBytes: OVERLAYS.ipip.overheadBytes,
  sentAs: Verdict.ENCAPSULATED,
  isTunnel: true,
  takesSuperPackets,
  encapsulate,
  isTunnelPacket,
  decapsulate,
  checkInner,
  markPeer,
  isQuoted,
};

function takesSuperPackets(_dp: Dataplane): boolean {
  return false;
}

function encapsulate(pkt: Packet, dp: Dataplane, hop: number): number {
  const l3 = pkt.l3 - IPV4_MIN_BYTES;
  writeOuterIpv4(pkt, dp, l3, hop, PROTOCOL_IPIP);
  return l3;
}

function isTunnelPacket(pkt: Packet, _dp: Dataplane): boolean {
  return pkt.protocol === PROTOCOL_IPIP;
}

/** An Ethernet header is written over the outer header's end, as a VXLAN node's VTEP would have sent it. */
function decapsulate(pkt: Packet, dp: Dataplane): Verdict {
  const hop = tunnelPeer(pkt, dp);
  if (hop === NO_HOP) return Verdict.IPIP_UNKNOWN_PEER;
  // Of a packet inside IPIP an offload header can describe a pending checksum, nothing else.
  if (pkt.gsoType !== GSO_NONE) return Verdict.OFFLOAD_INVALID;
  const { view, l4 } = pkt;
  const { config } = dp.node;
  const at = l4 - ETHERNET_BYTES;
  writeDestinationMac(view, at, config[NodeWord.GATEWAY_MAC_HIGH], config[NodeWord.GATEWAY_MAC_LOW]);
  writeSourceMac(view, at, PEER_MAC_HIGH, 0);
  writeEthernetType(view, at, ETHERTYPE_IPV4);
  pkt.start = at;
  pkt.tunnelled = 1;
  pkt.tunnelNode = hop;
  return Verdict.GO_ON;
}

function checkInner(pkt: Packet, dp: Dataplane): Verdict {
  if (!isFromTunnelNode(pkt, dp)) return Verdict.IPIP_INNER_SOURCE;
  return pkt.gsoType === GSO_NONE ? adoptMerged(pkt, dp) : Verdict.GO_ON;
}

/**
 * A raw socket is given packets as the kernel holds them: what its receive offload merged, or what a sender on the same
 * machine never cut, is larger than the overlay's MTU, its checksum field holds the pseudo-header's sum, and no offload
 * header comes with it. TCP can be cut anew at any size that fits; where one datagram ended and the next began is lost.
 * A packet that is too large but has its own checksum is no such thing: it travels on as it is, or is refused as too large.
 */
function adoptMerged(pkt: Packet, dp: Dataplane): Verdict {
  const mtu = dp.node.hops[hopAt(pkt.tunnelNode) + HopWord.MTU];
  if (pkt.end - pkt.l3 <= mtu || pkt.needsChecksum !== 0 || pkt.fragmentOffset !== 0 || pkt.moreFragments !== 0)
    return Verdict.GO_ON;
  if (!isChecksumPending(pkt.view, pkt.l3, pkt.l4, pkt.end, pkt.protocol)) return Verdict.GO_ON;
  if (pkt.protocol !== PROTOCOL_TCP) return Verdict.OFFLOAD_INVALID;
  pkt.needsChecksum = 1;
  pkt.checksumStart = pkt.l4;
  pkt.checksumOffset = TCP_CHECKSUM;
  pkt.gsoType = GSO_TCPV4;
  pkt.gsoSize = mtu - (pkt.headersEnd - pkt.l3);
  return Verdict.GO_ON;
}

/** Everything from another node comes in the tunnel. */
function markPeer(_pkt: Packet, _dp: Dataplane): void {}

function isQuoted(view: DataView, l3: number, _l4: number, _config: Int32Array): boolean {
  return transportProtocol(view, l3) === PROTOCOL_IPIP;
}
