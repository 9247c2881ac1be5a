/**
 * The virtio-net header in front of every frame of a TAP with IFF_VNET_HDR: what is still to be done to the frame
 * (finish a checksum, cut it into segments), 12 bytes, or 24 when the device knows of UDP tunnels (Linux 6.17).
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
 * All little-endian (TUNSETVNETLE). Offsets count from the frame's first byte here; in the descriptor they are
 * absolute, so that pushing and popping headers leaves them alone. What reaches us was made by a kernel, but a header
 * is believed only as far as it fits its frame: everything behind the reader uses these offsets unchecked.
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

/** No transport header begins earlier in a frame: Ethernet and the smallest IP header. */
const MIN_TRANSPORT: number = ETHERNET_BYTES + IPV4_MIN_BYTES;
const MIN_TRANSPORT_IPV6: number = ETHERNET_BYTES + IPV6_BYTES;

/**
 * Read the header at `at` into the descriptor, whose start and end are those of the frame and whose offload fields
 * are all 0 (Packet.reset).
 * @param headerBytes VNET_BYTES or VNET_TUNNEL_BYTES, as set with TUNSETVNETHDRSZ
 * @returns false when it contradicts itself or its frame; the descriptor's offload fields are then 0 still
 */
export function readVnetHeader(view: DataView, at: number, headerBytes: number, pkt: Packet): boolean {
  const flags = view.getUint8(at);
  const type = view.getUint8(at + GSO_TYPE);
  if (type === 0 && (flags & NEEDS_CHECKSUM) === 0) return true;
  const frameBytes = pkt.end - pkt.start;
  const checksumStart = view.getUint16(at + CHECKSUM_START, true);
  const checksumOffset = view.getUint16(at + CHECKSUM_OFFSET, true);
  // A super-packet always has its checksum pending (virtio 1.3 §5.1.6.2.1): each segment needs one of its own.
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

/** A known kind of super-packet, whose transport header is inside the frame and whose segments are not empty. */
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

/** The outer UDP header behind an outer IP header, the inner IP header behind that, the inner transport header last. */
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
 * Write the descriptor's offload fields as the header at `at`, offsets counted from pkt.start.
 *
 * With pkt.outerL4 set, the frame goes out as an encapsulated super-packet: 24 bytes are a must then. Its outer UDP
 * checksum is either 0 or, like the inner one, a pending pseudo-header sum. The kernel keeps to csum_start and
 * csum_offset to the byte and refuses loose ones.
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
