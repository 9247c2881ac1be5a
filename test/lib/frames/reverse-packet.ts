/**
 * Reverses a packet: as if its receiver sent it back, every byte the same except the direction. Ones' complement sums
 * do not depend on order, so swapped addresses and ports leave the checksums of TCP and UDP valid: a packet that comes
 * back through a translator must equal the reverse of the one that went in. Shares no code with the pipeline.
 */
import { viewOf } from './frame-builder.ts';

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const SCTP = 132;

/** Request and reply types of ICMP queries: each reversed gives the other (RFC 792, RFC 950). */
const ANSWERS: ReadonlyMap<number, number> = new Map([
  [8, 0],
  [0, 8],
  [13, 14],
  [14, 13],
  [17, 18],
  [18, 17],
]);

/** Where the transport header of an IPv4 packet begins. */
export function transportAt(packet: Uint8Array): number {
  return ((packet[0] ?? 0) & 15) << 2;
}

/** A copy of an IPv4 packet (no Ethernet header) in the opposite direction. */
export function reversePacket(packet: Uint8Array): Uint8Array {
  const turned = packet.slice();
  const view = viewOf(turned);
  swap(turned, 12, 16, 4);
  const l4 = transportAt(turned);
  const protocol = turned[9];
  if ((view.getUint16(6) & 0x1fff) !== 0) return turned;
  if (protocol === TCP || protocol === UDP || protocol === SCTP) swap(turned, l4, l4 + 2, 2);
  if (protocol === ICMP) {
    const type = view.getUint8(l4);
    const answer = ANSWERS.get(type) ?? type;
    view.setUint8(l4, answer);
    view.setUint16(l4 + 2, changed(view.getUint16(l4 + 2), type << 8, answer << 8));
  }
  return turned;
}

/** A checksum after a word that it covers has changed (RFC 1624 §3, equation 3). */
function changed(sum: number, from: number, to: number): number {
  let total = (~sum & 0xffff) + (~from & 0xffff) + to;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}

function swap(bytes: Uint8Array, a: number, b: number, count: number): void {
  const first = bytes.slice(a, a + count);
  bytes.copyWithin(a, b, b + count);
  bytes.set(first, b);
}

/** The packet with another TTL and a correct header checksum. */
export function withTtl(packet: Uint8Array, ttl: number): Uint8Array {
  const copy = packet.slice();
  const view = viewOf(copy);
  copy[8] = ttl;
  view.setUint16(10, 0);
  let sum = 0;
  for (let at = 0; at < transportAt(copy); at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(10, ~sum & 0xffff);
  return copy;
}

/** CRC32c of bytes [from, to), bit by bit (RFC 9260 appendix A). */
export function crc32c(bytes: Uint8Array, from: number, to: number): number {
  let crc = -1;
  for (let at = from; at < to; at++) {
    crc ^= bytes[at] ?? 0;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) !== 0 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

/** Write the correct CRC32c into the SCTP packet at `l4`: little-endian, over the packet with the field as zero. */
export function finishSctp(bytes: Uint8Array, l4: number, end: number): void {
  const view = viewOf(bytes);
  view.setUint32(l4 + 8, 0);
  view.setUint32(l4 + 8, crc32c(bytes, l4, end), true);
}
