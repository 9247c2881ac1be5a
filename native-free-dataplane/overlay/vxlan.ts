/**
 * VXLAN: 50 bytes of inner Ethernet, VXLAN, UDP and IPv4 headers, written into the headroom in front of the packet. The
 * packet itself does not move. Removing the headers moves `start`; the offload fields of a super-packet inside stay
 * valid, because their offsets are absolute.
 *
 * Read before editing: RFC 7348 §4.1 (the outer UDP checksum is zero), §4.3, §5 (layout), §7; linux
 * drivers/net/vxlan/vxlan_core.c vxlan_rcv (a packet with reserved bits set is dropped there, although the RFC says to
 * ignore them; we do as Linux does), drivers/net/tun_vnet.h (offload header).
 */
import type { Dataplane } from '../dataplane.ts';
import { HopWord, NodeWord } from '../node/config.ts';
import { hopAt, NO_HOP } from '../node/hops.ts';
import { GSO_NONE, type Packet } from '../packet.ts';
import { PROTOCOL_UDP } from '../protocols.ts';
import { Verdict } from '../verdicts.ts';
import {
  ETHERNET_BYTES,
  isDestinationMac,
  writeDestinationMac,
  writeEthernetType,
  writeSourceMac,
} from '../wire/ethernet.ts';
import { etherTypeOf, transportProtocol } from '../wire/ip.ts';
import { IPV4_MIN_BYTES } from '../wire/ipv4.ts';
import { destinationPort } from '../wire/ports.ts';
import { transportChecksum } from '../wire/transport-checksum.ts';
import { emitUdp, UDP_BYTES, udpChecksum } from '../wire/udp.ts';
import { emitVxlan, isCleanVxlan, VXLAN_BYTES, VXLAN_OUTER_IPV4_BYTES, vxlanNetwork } from '../wire/vxlan.ts';
import { OVERLAYS } from './modes.ts';
import { writeOuterIpv4 } from './outer-ipv4.ts';
import type { PacketOverlay } from './packet-overlay.ts';
import { isFromTunnelNode, tunnelPeer } from './peers.ts';

/** Source ports of the tunnel: the dynamic range, 49152..65535 (RFC 7348 §5). */
const FIRST_SOURCE_PORT = 0xc000;
const SOURCE_PORT_MASK = 0x3fff;

export const vxlan: PacketOverlay = {
  overheadBytes: OVERLAYS.vxlan.overheadBytes,
  sentAs: Verdict.ENCAPSULATED,
  isTunnel: OVERLAYS.vxlan.tunnel !== undefined,
  takesSuperPackets,
  sendsTrains,
  encapsulate,
  isTunnelPacket,
  decapsulate,
  checkInner,
  markPeer,
  isOverlayPacket,
};

/** Since Linux 6.17 (tun_vnet.h, TUN_F_UDP_TUNNEL_GSO). */
function takesSuperPackets(dp: Dataplane): boolean {
  return dp.tunnelOffload;
}

/** Since Linux 6.2 (TUN_F_USO4). */
function sendsTrains(dp: Dataplane): boolean {
  return dp.udpSegmentation;
}

/** Write all headers: inner Ethernet to the other node's VTEP, outer IPv4 and UDP to the node. */
function encapsulate(pkt: Packet, dp: Dataplane, hop: number): number {
  const { view } = pkt;
  const { config, hops } = dp.node;
  const at = hopAt(hop);
  const inner = pkt.l3 - ETHERNET_BYTES;
  writeDestinationMac(view, inner, hops[at + HopWord.MAC_HIGH], hops[at + HopWord.MAC_LOW]);
  writeSourceMac(view, inner, config[NodeWord.GATEWAY_MAC_HIGH], config[NodeWord.GATEWAY_MAC_LOW]);
  writeEthernetType(view, inner, etherTypeOf(pkt.family));

  const l3 = inner - VXLAN_OUTER_IPV4_BYTES;
  const udp = l3 + IPV4_MIN_BYTES;
  writeOuterIpv4(pkt, dp, l3, hop, PROTOCOL_UDP);
  // The inner flow's hash, so that ECMP and link aggregation distribute flows (RFC 7348 §5).
  const srcPort = FIRST_SOURCE_PORT | ((pkt.hash ^ (pkt.hash >>> 16)) & SOURCE_PORT_MASK);
  emitUdp(view, udp, srcPort, config[NodeWord.VXLAN_PORT], pkt.end - udp);
  emitVxlan(view, udp + UDP_BYTES, config[NodeWord.VNI]);

  if (pkt.gsoType !== GSO_NONE) {
    pkt.outerL4 = udp;
    pkt.innerL3 = pkt.l3;
  }
  return l3;
}

function isTunnelPacket(pkt: Packet, dp: Dataplane): boolean {
  return pkt.protocol === PROTOCOL_UDP && pkt.dstPort === dp.node.config[NodeWord.VXLAN_PORT];
}

function decapsulate(pkt: Packet, dp: Dataplane): Verdict {
  const { view, l4 } = pkt;
  const header = l4 + UDP_BYTES;
  const inner = header + VXLAN_BYTES;
  if (pkt.end - inner < ETHERNET_BYTES) return Verdict.VXLAN_TRUNCATED;
  if (!isCleanVxlan(view, header)) return Verdict.VXLAN_FLAGS;
  if (vxlanNetwork(view, header) !== dp.node.config[NodeWord.VNI]) return Verdict.VXLAN_VNI;

  const hop = tunnelPeer(pkt, dp);
  if (hop === NO_HOP) return Verdict.VXLAN_UNKNOWN_PEER;

  if (pkt.gsoType !== GSO_NONE) {
    // A super-packet inside: the offsets in the kernel's offload header must match the parsed headers.
    if (pkt.outerL4 !== l4 || pkt.innerL3 !== inner + ETHERNET_BYTES) return Verdict.OFFLOAD_INVALID;
  } else {
    if (pkt.needsChecksum !== 0 && pkt.checksumStart === l4) {
      // Only the outer checksum was pending: the inner packet is complete.
      pkt.needsChecksum = 0;
    } else if (pkt.needsChecksum === 0 && udpChecksum(view, l4) !== 0) {
      if (transportChecksum(view, pkt.l3, l4, pkt.end, PROTOCOL_UDP) !== 0) return Verdict.VXLAN_CHECKSUM;
    }
  }
  pkt.outerL4 = 0;
  pkt.innerL3 = 0;
  pkt.start = inner;
  pkt.tunnelled = 1;
  pkt.tunnelNode = hop;
  return Verdict.GO_ON;
}

/** The inner frame must be sent to this node's VTEP, with a source that belongs to the sending node. */
function checkInner(pkt: Packet, dp: Dataplane): Verdict {
  const { config } = dp.node;
  const ours = isDestinationMac(
    pkt.view,
    pkt.start,
    config[NodeWord.GATEWAY_MAC_HIGH],
    config[NodeWord.GATEWAY_MAC_LOW],
  );
  if (!ours) return Verdict.VXLAN_INNER_FRAME;
  return isFromTunnelNode(pkt, dp) ? Verdict.GO_ON : Verdict.VXLAN_INNER_SOURCE;
}

/** All packets from other nodes are encapsulated: nothing to mark. */
function markPeer(_pkt: Packet, _dp: Dataplane): void {}

function isOverlayPacket(view: DataView, l3: number, l4: number, config: Int32Array): boolean {
  return transportProtocol(view, l3) === PROTOCOL_UDP && destinationPort(view, l4) === config[NodeWord.VXLAN_PORT];
}
