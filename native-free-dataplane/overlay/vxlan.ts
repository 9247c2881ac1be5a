/**
 * VXLAN: the inner Ethernet header, VXLAN, UDP and IPv4 are written into the headroom in front of the packet, 50 bytes;
 * the packet itself does not move. Like every other header, they are taken off by moving `start`; what the kernel's
 * offload header says about the super-packet inside (absolute offsets) stays as it is.
 *
 * Read before editing: RFC 7348 §4.1 (the outer UDP checksum is zero), §4.3, §5 (layout), §7; linux
 * drivers/net/vxlan/vxlan_core.c vxlan_rcv (a packet with reserved bits set is dropped there, although the RFC says to
 * ignore them; we do as Linux does), drivers/net/tun_vnet.h (offload header).
 */
import type { Dataplane } from '../dataplane.ts';
import { NodeWord } from '../node/config.ts';
import { HopWord, hopAt, NO_HOP } from '../node/hops.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_UDP } from '../protocols.ts';
import { Verdict } from '../verdicts.ts';
import { finishChecksum, sumBytes } from '../wire/checksum.ts';
import { pseudoHeaderSum } from '../wire/transport-checksum.ts';
import { VXLAN_OVERHEAD_IPV4 } from '../wire/vxlan.ts';
import { OVERLAYS } from './modes.ts';
import { writeOuterIpv4 } from './outer-ipv4.ts';
import type { PacketOverlay } from './packet-overlay.ts';
import { isFromTunnelNode, tunnelPeer } from './peers.ts';

const UDP_BYTES = 8;
const VXLAN_BYTES = 8;
/** Flags word with only the "VNI is valid" bit (RFC 7348 §5). */
const VXLAN_FLAGS_WORD = 0x08000000;

export const vxlan: PacketOverlay = {
  overheadBytes: OVERLAYS.vxlan.overheadBytes,
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

/** From Linux 6.17 on (tun_vnet.h, TUN_F_UDP_TUNNEL_GSO). */
function takesSuperPackets(dp: Dataplane): boolean {
  return dp.tunnelOffload;
}

/** The inner Ethernet header goes to the node's VTEP, the outer headers to the node. */
function encapsulate(pkt: Packet, dp: Dataplane, hop: number): number {
  const { view } = pkt;
  const { config, hops } = dp.node;
  const at = hopAt(hop);
  const inner = pkt.l3 - 14;
  view.setUint16(inner, hops[at + HopWord.MAC_HIGH]);
  view.setInt32(inner + 2, hops[at + HopWord.MAC_LOW]);
  view.setUint16(inner + 6, config[NodeWord.GATEWAY_MAC_HIGH]);
  view.setInt32(inner + 8, config[NodeWord.GATEWAY_MAC_LOW]);
  view.setUint16(inner + 12, 0x0800);

  const outer = inner - VXLAN_OVERHEAD_IPV4;
  const l3 = outer + 14;
  const udp = l3 + 20;
  const bytes = pkt.end - l3;
  writeOuterIpv4(pkt, dp, l3, hop, PROTOCOL_UDP);

  // Entropy for whoever balances over links: the inner flow's hash, in the dynamic port range (RFC 7348 §5).
  view.setUint16(udp, 0xc000 | ((pkt.hash ^ (pkt.hash >>> 16)) & 0x3fff));
  view.setUint16(udp + 2, config[NodeWord.VXLAN_PORT]);
  view.setUint32(udp + 4, (bytes - 20) << 16);
  view.setUint32(udp + 8, 0x08000000);
  view.setUint32(udp + 12, config[NodeWord.VNI] << 8);

  if (pkt.gsoType !== 0) {
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
  const inner = l4 + UDP_BYTES + VXLAN_BYTES;
  if (pkt.end - inner < 14) return Verdict.VXLAN_TRUNCATED;
  if (view.getUint32(l4 + UDP_BYTES) !== VXLAN_FLAGS_WORD) return Verdict.VXLAN_FLAGS;
  const identifier = view.getUint32(l4 + UDP_BYTES + 4);
  if ((identifier & 0xff) !== 0) return Verdict.VXLAN_FLAGS;
  if (identifier >>> 8 !== dp.node.config[NodeWord.VNI]) return Verdict.VXLAN_VNI;

  const hop = tunnelPeer(pkt, dp);
  if (hop === NO_HOP) return Verdict.VXLAN_UNKNOWN_PEER;

  if (pkt.gsoType !== 0) {
    // A super-packet inside: the kernel's offload header must place the layers where they are.
    if (pkt.outerL4 !== l4 || pkt.innerL3 !== inner + 14) return Verdict.OFFLOAD_INVALID;
  } else {
    if (pkt.needsChecksum !== 0 && pkt.checksumStart === l4) {
      // Only the outer checksum was pending: the inner packet is complete.
      pkt.needsChecksum = 0;
    } else if (pkt.needsChecksum === 0) {
      const checksum = view.getUint16(l4 + 6);
      if (checksum !== 0) {
        const bytes = pkt.end - l4;
        const sum = sumBytes(view, l4, pkt.end, pseudoHeaderSum(view, pkt.l3, PROTOCOL_UDP, bytes));
        if (finishChecksum(sum) !== 0) return Verdict.VXLAN_CHECKSUM;
      }
    }
  }
  pkt.outerL4 = 0;
  pkt.innerL3 = 0;
  pkt.start = inner;
  pkt.tunnelled = 1;
  pkt.tunnelNode = hop;
  return Verdict.GO_ON;
}

/** The inner frame must be for this node's VTEP. */
function checkInner(pkt: Packet, dp: Dataplane): Verdict {
  const { config } = dp.node;
  const { view, start } = pkt;
  if (
    view.getUint16(start) !== config[NodeWord.GATEWAY_MAC_HIGH] ||
    view.getUint32(start + 2) !== config[NodeWord.GATEWAY_MAC_LOW] >>> 0
  ) {
    return Verdict.VXLAN_INNER_FRAME;
  }
  return isFromTunnelNode(pkt, dp) ? Verdict.GO_ON : Verdict.VXLAN_INNER_SOURCE;
}

/** Whatever another node sends comes in the tunnel. */
function markPeer(_pkt: Packet, _dp: Dataplane): void {}

function isQuoted(view: DataView, l3: number, l4: number, config: Int32Array): boolean {
  return view.getUint8(l3 + 9) === PROTOCOL_UDP && view.getUint16(l4 + 2) === config[NodeWord.VXLAN_PORT];
}
