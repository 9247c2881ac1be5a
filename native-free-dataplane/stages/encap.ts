/**
 * VXLAN and IPIP out, written into the headroom in front of the packet: 50 or 20 bytes, the packet itself does not move.
 *
 * Everything that is the same for every packet to a node is summed once in its hop; per packet two lengths, an
 * identification and the source port are added. The UDP checksum is zero, as RFC 7348 §4.1 says it should be.
 *
 * Read before editing: RFC 7348 §5 (layout), RFC 2003 §3.1 (IPIP); linux drivers/net/tun_vnet.h for the offload header.
 */
import type { Dataplane } from '../dataplane.ts';
import { NodeWord } from '../node/config.ts';
import { HOST_HOP, HopWord, hopAt } from '../node/hops.ts';
import type { Packet } from '../packet.ts';
import { IPV4_MIN_BYTES, PROTOCOL_IPIP, PROTOCOL_UDP } from '../wire/ipv4.ts';
import { VXLAN_OVERHEAD_IPV4 } from '../wire/vxlan.ts';

/** Ethernet source of frames handed to the node's kernel: anything but its own address. */
const TO_HOST_MAC_HIGH = 0x0200;
const TO_HOST_MAC_LOW = 0x00000001;

/** Put the overlay's headers in front: the inner Ethernet header goes to the node's VTEP, the outer ones to the node. */
export function encapsulate(pkt: Packet, dp: Dataplane, hop: number): void {
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
  writeHostEthernet(pkt, dp, outer);
  writeOuterIpv4(pkt, dp, l3, at, PROTOCOL_UDP);

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
  pkt.start = outer;
}

/** Put an IPv4 header to the node in front of the packet (RFC 2003), and the host's Ethernet header in front of that. */
export function encapsulateIpip(pkt: Packet, dp: Dataplane, hop: number): void {
  const l3 = pkt.l3 - IPV4_MIN_BYTES;
  writeOuterIpv4(pkt, dp, l3, hopAt(hop), PROTOCOL_IPIP);
  writeHostEthernet(pkt, dp, l3 - 14);
  pkt.start = l3 - 14;
}

/** Outer IPv4 header at `l3`, from this node to the hop whose words start at `at`; it ends with the packet. */
function writeOuterIpv4(pkt: Packet, dp: Dataplane, l3: number, at: number, protocol: number): void {
  const { view } = pkt;
  const { config, hops } = dp.node;
  const bytes = pkt.end - l3;
  const identification = dp.nextIpId;
  dp.nextIpId = (identification + 1) & 0xffff;
  view.setUint32(l3, 0x45000000 | bytes);
  view.setUint32(l3 + 4, ((identification << 16) | 0x4000) >>> 0);
  view.setUint16(l3 + 8, 0x4000 | protocol);
  let sum = hops[at + HopWord.OUTER_SUM] + protocol + bytes + identification;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(l3 + 10, ~sum & 0xffff);
  view.setInt32(l3 + 12, config[NodeWord.NODE_IP + 3]);
  view.setInt32(l3 + 16, hops[at + HopWord.ADDRESS + 3]);
}

/** Ethernet header of a frame for the node's kernel, at `at`. */
export function writeHostEthernet(pkt: Packet, dp: Dataplane, at: number): void {
  const { view } = pkt;
  const { config } = dp.node;
  view.setUint16(at, config[NodeWord.GATEWAY_MAC_HIGH]);
  view.setInt32(at + 2, config[NodeWord.GATEWAY_MAC_LOW]);
  view.setUint16(at + 6, TO_HOST_MAC_HIGH);
  view.setUint32(at + 8, TO_HOST_MAC_LOW);
  view.setUint16(at + 12, 0x0800);
}

/**
 * Ethernet header of a frame for a pod, in front of pkt.l3. A frame between pods of one segment keeps its source. That
 * is written out and not left: of a packet cut into pieces, only the first has its own header in front.
 * @param from hop of the pod that sent it; HOST_HOP when the gateway is the source
 */
export function writePodEthernet(pkt: Packet, dp: Dataplane, hop: number, from: number): void {
  const { view } = pkt;
  const { config, hops } = dp.node;
  const at = pkt.l3 - 14;
  view.setUint16(at, hops[hopAt(hop) + HopWord.MAC_HIGH]);
  view.setInt32(at + 2, hops[hopAt(hop) + HopWord.MAC_LOW]);
  view.setUint16(at + 6, from === HOST_HOP ? config[NodeWord.GATEWAY_MAC_HIGH] : hops[hopAt(from) + HopWord.MAC_HIGH]);
  view.setInt32(at + 8, from === HOST_HOP ? config[NodeWord.GATEWAY_MAC_LOW] : hops[hopAt(from) + HopWord.MAC_LOW]);
  view.setUint16(at + 12, 0x0800);
  pkt.start = at;
}
