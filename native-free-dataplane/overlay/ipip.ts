/**
 * IPIP: an outer IPv4 header in front of the packet, 20 bytes, and no inner Ethernet header. The kernel's offload
 * header cannot describe a super-packet inside IPIP, so super-packets are segmented first.
 *
 * Encapsulated packets are sent either through dp0, where the node's kernel routes them, or through a raw socket of the
 * agent (NodeWord.TUNNEL_PORT, src/devices/ring-port.ts), for which the kernel writes the outer header anew.
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
  isTunnel: OVERLAYS.ipip.tunnel !== undefined,
  takesSuperPackets,
  sendsTrains,
  encapsulate,
  isTunnelPacket,
  decapsulate,
  checkInner,
  markPeer,
  isOverlayPacket,
};

function takesSuperPackets(_dp: Dataplane): boolean {
  return false;
}

function sendsTrains(_dp: Dataplane): boolean {
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

/**
 * Write an Ethernet header over the end of the outer IPv4 header, so that the inner packet can be parsed as a frame.
 */
function decapsulate(pkt: Packet, dp: Dataplane): Verdict {
  const hop = tunnelPeer(pkt, dp);
  if (hop === NO_HOP) return Verdict.IPIP_UNKNOWN_PEER;
  // For a packet inside IPIP an offload header can describe a pending checksum, but no segmentation.
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
 * Restore the offload fields of a super-packet that arrived without an offload header. A raw socket receives packets as
 * the kernel holds them. One that GRO merged, or that a sender on the same machine did not segment, is larger than the
 * overlay's MTU and has a pending checksum. TCP can be segmented again at any size that fits; for UDP the boundaries of
 * the datagrams are lost. A packet with a complete checksum was not merged: it is forwarded, or refused as too large.
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

/** All packets from other nodes are encapsulated: nothing to mark. */
function markPeer(_pkt: Packet, _dp: Dataplane): void {}

function isOverlayPacket(view: DataView, l3: number, _l4: number, _config: Int32Array): boolean {
  return transportProtocol(view, l3) === PROTOCOL_IPIP;
}
