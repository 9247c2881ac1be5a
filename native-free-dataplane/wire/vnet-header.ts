/**
 * The virtio-net header in front of every frame of a TAP with IFF_VNET_HDR: the offloads that the frame still needs (a
 * checksum to complete, segmentation). It has 12 bytes, or 24 if the device supports UDP tunnel offload (Linux 6.17).
 *
 *   0     1     2         4         6         8         10        12
 *  +-----+-----+---------+---------+---------+---------+---------+
 *  |flags| gso | hdr_len | gso_size|csum_    |csum_    |num_     |
 *  |     |type |         |         |  start  |  offset |  buffers|
 *  +-----+-----+---------+---------+---------+---------+---------+
 *  12                  16        18        20        22        24
 *  +-------------------+---------+---------+---------+---------+
 *  |    hash value     | report  | padding |outer_th |inner_nh |
 *  +-------------------+---------+---------+---------+---------+
 *
 * All fields are little-endian (TUNSETVNETLE). Offsets in the header count from the frame's first byte; in the
 * descriptor they are absolute, so that pushing and popping headers does not change them. Later stages use these
 * offsets without further checks, so a header is accepted only if it fits its frame.
 *
 * Read before editing: linux include/uapi/linux/virtio_net.h, include/linux/virtio_net.h (virtio_net_hdr_to_skb,
 * virtio_net_hdr_tnl_to_skb), drivers/net/tun_vnet.h; virtio 1.3 §5.1.6.2.
 */
import { GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, type Packet } from '../packet.ts';
import { ETHERNET_BYTES, ETHERTYPE_IPV6, ethernetType } from './ethernet.ts';
import { IPV4_MIN_BYTES } from './ipv4.ts';
import { IPV6_BYTES } from './ipv6.ts';
import { TCP_CHECKSUM, TCP_MIN_BYTES } from './tcp.ts';
import { UDP_BYTES, UDP_CHECKSUM, udpChecksum } from './udp.ts';

export const VNET_BYTES = 12;
export const VNET_TUNNEL_BYTES = 24;

const GSO_TYPE = 1;
const HEADER_LENGTH = 2;
const GSO_SIZE = 4;
const CHECKSUM_START = 6;
const CHECKSUM_OFFSET = 8;
const OUTER_L4 = 20;
const INNER_L3 = 22;

/** Flags (linux: VIRTIO_NET_HDR_F_*). */
const NEEDS_CHECKSUM = 1;
const TUNNEL_CHECKSUM = 8;

/** Bits or-ed to the GSO type (linux: VIRTIO_NET_HDR_GSO_*). */
const GSO_OUTER_IPV4 = 0x20;
const GSO_OUTER_IPV6 = 0x40;
const GSO_OUTER_ANY = 0x60;
const GSO_ECN = 0x80;

/** Smallest offset of a transport header in a frame: after Ethernet and the shortest IP header. */
const MIN_TRANSPORT: number = ETHERNET_BYTES + IPV4_MIN_BYTES;
const MIN_TRANSPORT_IPV6: number = ETHERNET_BYTES + IPV6_BYTES;

/**
 * Read the header at `at` into the descriptor, which has just been reset to the frame (Packet.reset).
 * @param headerBytes VNET_BYTES or VNET_TUNNEL_BYTES, as set with TUNSETVNETHDRSZ
 * @returns false if the header is inconsistent or does not fit the frame; the descriptor's offload fields then remain 0
 */
export function readVnetHeader(view: DataView, at: number, headerBytes: number, pkt: Packet): boolean {
  const flags = view.getUint8(at);
  const type = view.getUint8(at + GSO_TYPE);
  if (type === 0 && (flags & NEEDS_CHECKSUM) === 0) return true;
  const frameBytes = pkt.end - pkt.start;
  const checksumStart = view.getUint16(at + CHECKSUM_START, true);
  const checksumOffset = view.getUint16(at + CHECKSUM_OFFSET, true);
  // The checksum of a super-packet is always pending (virtio 1.3 §5.1.6.2.1), because each segment needs its own.
  if ((flags & NEEDS_CHECKSUM) === 0) return false;
  if (checksumStart < MIN_TRANSPORT || checksumStart + checksumOffset + 2 > frameBytes) return false;
  if (type !== 0) {
    if (!gsoFits(view, at, type, checksumStart, checksumOffset, frameBytes)) return false;
    if ((type & GSO_OUTER_ANY) !== 0) {
      if (headerBytes < VNET_TUNNEL_BYTES || !tunnelFits(view, at, type, checksumStart)) return false;
      pkt.outerL4 = pkt.start + view.getUint16(at + OUTER_L4, true);
      pkt.innerL3 = pkt.start + view.getUint16(at + INNER_L3, true);
    }
    pkt.gsoType = type & ~(GSO_OUTER_ANY | GSO_ECN);
    pkt.gsoEcn = (type & GSO_ECN) !== 0 ? 1 : 0;
    pkt.gsoSize = view.getUint16(at + GSO_SIZE, true);
    pkt.headersEnd = pkt.start + view.getUint16(at + HEADER_LENGTH, true);
  }
  pkt.needsChecksum = 1;
  pkt.checksumStart = pkt.start + checksumStart;
  pkt.checksumOffset = checksumOffset;
  return true;
}

/** Is this a supported kind of super-packet, with its transport header inside the frame and non-empty segments? */
function gsoFits(
  view: DataView,
  at: number,
  type: number,
  checksumStart: number,
  checksumOffset: number,
  frameBytes: number,
): boolean {
  const kind = type & ~(GSO_OUTER_ANY | GSO_ECN);
  if (kind === GSO_TCPV4 || kind === GSO_TCPV6) {
    if (checksumOffset !== TCP_CHECKSUM || checksumStart + TCP_MIN_BYTES > frameBytes) return false;
    if (kind === GSO_TCPV6 && checksumStart < MIN_TRANSPORT_IPV6) return false;
  } else if (kind === GSO_UDP_L4) {
    if ((type & GSO_ECN) !== 0 || checksumOffset !== UDP_CHECKSUM || checksumStart + UDP_BYTES > frameBytes)
      return false;
  } else return false;
  return view.getUint16(at + GSO_SIZE, true) !== 0 && view.getUint16(at + HEADER_LENGTH, true) <= frameBytes;
}

/** Are the headers of a tunnelled super-packet in order: outer IP, outer UDP, inner IP, inner transport header? */
function tunnelFits(view: DataView, at: number, type: number, checksumStart: number): boolean {
  if ((type & GSO_OUTER_ANY) === GSO_OUTER_ANY) return false;
  const outerL4 = view.getUint16(at + OUTER_L4, true);
  const innerL3 = view.getUint16(at + INNER_L3, true);
  if (outerL4 < ((type & GSO_OUTER_IPV6) !== 0 ? MIN_TRANSPORT_IPV6 : MIN_TRANSPORT)) return false;
  if (innerL3 < outerL4 + UDP_BYTES) return false;
  const innerBytes = (type & ~(GSO_OUTER_ANY | GSO_ECN)) === GSO_TCPV6 ? IPV6_BYTES : IPV4_MIN_BYTES;
  return checksumStart >= innerL3 + innerBytes;
}

/**
 * Write the descriptor's offload fields as a header at `at`, with offsets from pkt.start.
 *
 * If pkt.outerL4 is set, the frame is an encapsulated super-packet and headerBytes must be VNET_TUNNEL_BYTES. Its outer
 * UDP checksum is either 0 or, like the inner one, pending. The kernel drops frames whose csum_start and csum_offset
 * are not exact.
 */
export function writeVnetHeader(view: DataView, at: number, headerBytes: number, pkt: Packet): void {
  view.setUint32(at, 0);
  view.setUint32(at + 4, 0);
  view.setUint32(at + 8, 0);
  if (headerBytes >= VNET_TUNNEL_BYTES) {
    view.setUint32(at + 12, 0);
    view.setUint32(at + 16, 0);
    view.setUint32(at + 20, 0);
  }
  if (pkt.needsChecksum === 0) return;
  let flags = NEEDS_CHECKSUM;
  view.setUint16(at + CHECKSUM_START, pkt.checksumStart - pkt.start, true);
  view.setUint16(at + CHECKSUM_OFFSET, pkt.checksumOffset, true);
  if (pkt.gsoType !== GSO_NONE) {
    let type = pkt.gsoType;
    if (pkt.gsoEcn !== 0) type |= GSO_ECN;
    if (pkt.outerL4 !== 0 && headerBytes >= VNET_TUNNEL_BYTES) {
      type |= ethernetType(view, pkt.start) === ETHERTYPE_IPV6 ? GSO_OUTER_IPV6 : GSO_OUTER_IPV4;
      if (udpChecksum(view, pkt.outerL4) !== 0) flags |= TUNNEL_CHECKSUM;
      view.setUint16(at + OUTER_L4, pkt.outerL4 - pkt.start, true);
      view.setUint16(at + INNER_L3, pkt.innerL3 - pkt.start, true);
    }
    view.setUint8(at + GSO_TYPE, type);
    view.setUint16(at + HEADER_LENGTH, pkt.headersEnd - pkt.start, true);
    view.setUint16(at + GSO_SIZE, pkt.gsoSize, true);
  }
  view.setUint8(at, flags);
}
