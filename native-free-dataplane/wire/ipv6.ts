/**
 * The IPv6 header. The caller has checked that IPV6_BYTES lie inside the frame.
 *
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +-------+---------------+---------------------------------------+
 *  |version| traffic class |              flow label               |  0
 *  +-------+---------------+-------+---------------+---------------+
 *  |        payload length         |  next header  |   hop limit   |  4
 *  +-------------------------------+---------------+---------------+
 *  |                    source address (4 words)                   |  8
 *  |                 destination address (4 words)                 | 24
 *  +---------------------------------------------------------------+
 *
 * See RFC 8200 §3. Extension headers: ipv6-extensions.ts.
 */
export const IPV6_BYTES = 40;

const PAYLOAD_LENGTH = 4;
const NEXT_HEADER = 6;
const HOP_LIMIT = 7;
const DEFAULT_HOP_LIMIT = 64;
const SOURCE = 8;
const DESTINATION = 24;
/** Version 6, traffic class and flow label 0. */
const FIRST_WORD = 0x60000000;

/** Bytes after the header, extension headers included; 0 for a jumbogram (RFC 2675), which is not supported. */
export function ipv6PayloadLength(view: DataView, l3: number): number {
  return view.getUint16(l3 + PAYLOAD_LENGTH);
}

/** Protocol number of what follows: an extension header or the transport header. */
export function ipv6NextHeader(view: DataView, l3: number): number {
  return view.getUint8(l3 + NEXT_HEADER);
}

/** Word `index` (0..3) of the source address, int32. */
export function ipv6SourceWord(view: DataView, l3: number, index: number): number {
  return view.getInt32(l3 + SOURCE + (index << 2));
}

/** Word `index` (0..3) of the destination address, int32. */
export function ipv6DestinationWord(view: DataView, l3: number, index: number): number {
  return view.getInt32(l3 + DESTINATION + (index << 2));
}

/** Sum of both addresses as 16-bit words, not folded. */
export function sumIpv6Addresses(view: DataView, l3: number): number {
  let sum = 0;
  for (let at = l3 + SOURCE; at < l3 + IPV6_BYTES; at += 4) {
    const word = view.getInt32(at);
    sum += (word >>> 16) + (word & 0xffff);
  }
  return sum;
}

/**
 * Write a whole header; traffic class and flow label 0, hop limit 64 (IANA, "IP parameters").
 * @param payloadLength bytes after the header
 * @param src,dst four int32 words each
 */
export function emitIpv6(
  view: DataView,
  l3: number,
  payloadLength: number,
  nextHeader: number,
  src: Int32Array,
  dst: Int32Array,
): void {
  view.setUint32(l3, FIRST_WORD);
  view.setUint16(l3 + PAYLOAD_LENGTH, payloadLength);
  view.setUint8(l3 + NEXT_HEADER, nextHeader);
  view.setUint8(l3 + HOP_LIMIT, DEFAULT_HOP_LIMIT);
  for (let i = 0; i < 4; i++) {
    view.setInt32(l3 + SOURCE + (i << 2), src[i]);
    view.setInt32(l3 + DESTINATION + (i << 2), dst[i]);
  }
}
