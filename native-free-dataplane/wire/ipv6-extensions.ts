/**
 * The chain of IPv6 extension headers: where the transport header is, and whether this is a fragment.
 *
 *  +---------------+---------------+-------------------------------
 *  |  next header  | length/8 - 1  | options or routing data …        most of them
 *  +---------------+---------------+-------------------------+-+-+-+
 *  |  next header  |   reserved    |     fragment offset     |0 0|M|  fragment header
 *  |                        identification                         |
 *  +---------------------------------------------------------------+
 *
 * The number of headers is limited, nothing beyond the packet is read, and options are not interpreted. Encrypted
 * payload (ESP) and "no next header" end the chain like a transport header.
 *
 * Read before editing: RFC 8200 §4, RFC 6564 (uniform format), RFC 7045 (unknown headers), RFC 7112 (whole chain in
 * the first fragment).
 */
import { IPV6_BYTES, ipv6NextHeader } from './ipv6.ts';

const HEADER_HOP_BY_HOP = 0;
const HEADER_ROUTING = 43;
const HEADER_FRAGMENT = 44;
const HEADER_AUTHENTICATION = 51;
const HEADER_DESTINATION = 60;
const HEADER_MOBILITY = 135;
const HEADER_HIP = 139;
const HEADER_SHIM6 = 140;

const FRAGMENT_BYTES = 8;

/** Longer chains are refused: only attacks use them (linux net.ipv6.max_dst_opts_number: 8 options). */
const MAX_EXTENSION_HEADERS = 8;

/** Result of the last walk. One object, reused: read it before the next walk. */
export const ipv6Chain: {
  /** Protocol number at the end of the chain. */
  protocol: number;
  /** Absolute offset of the transport header (or of the payload of a later fragment). */
  l4: number;
  /** Absolute offset of the fragment header, 0 without one. */
  fragmentAt: number;
  /** Offset of this fragment in bytes; more fragments to come: 0 or 1; the datagram's identification as int32. */
  fragmentOffset: number;
  moreFragments: number;
  identification: number;
} = { protocol: 0, l4: 0, fragmentAt: 0, fragmentOffset: 0, moreFragments: 0, identification: 0 };

/**
 * Walk the chain of the packet at `l3` into `ipv6Chain`.
 * @param l3 absolute offset of the IPv6 header, whole inside the packet
 * @param end one past the packet's last byte
 * @returns false if the chain extends beyond the packet, is too long, or has a hop-by-hop header that is not first
 */
export function walkIpv6Extensions(view: DataView, l3: number, end: number): boolean {
  let at = l3 + IPV6_BYTES;
  let header = ipv6NextHeader(view, l3);
  ipv6Chain.fragmentAt = 0;
  ipv6Chain.fragmentOffset = 0;
  ipv6Chain.moreFragments = 0;
  ipv6Chain.identification = 0;
  for (let count = 0; isExtension(header); count++) {
    if (count === MAX_EXTENSION_HEADERS || end - at < 8) return false;
    const next = view.getUint8(at);
    if (header === HEADER_HOP_BY_HOP && count !== 0) return false;
    if (header === HEADER_FRAGMENT) {
      const word = view.getUint16(at + 2);
      ipv6Chain.fragmentAt = at;
      ipv6Chain.fragmentOffset = word & 0xfff8;
      ipv6Chain.moreFragments = word & 1;
      ipv6Chain.identification = view.getInt32(at + 4);
      at += FRAGMENT_BYTES;
      header = next;
      // A later fragment contains payload only; the next-header value describes the first fragment.
      if (ipv6Chain.fragmentOffset !== 0) break;
      continue;
    }
    // Only the authentication header has its length in units of four bytes (RFC 4302 §2.2).
    const length = view.getUint8(at + 1);
    at += header === HEADER_AUTHENTICATION ? (length + 2) << 2 : (length + 1) << 3;
    if (at > end) return false;
    header = next;
  }
  ipv6Chain.protocol = header;
  ipv6Chain.l4 = at;
  return true;
}

/** Is this the protocol number of an extension header that can be skipped? */
function isExtension(header: number): boolean {
  return (
    header === HEADER_HOP_BY_HOP ||
    header === HEADER_ROUTING ||
    header === HEADER_FRAGMENT ||
    header === HEADER_AUTHENTICATION ||
    header === HEADER_DESTINATION ||
    header === HEADER_MOBILITY ||
    header === HEADER_HIP ||
    header === HEADER_SHIM6
  );
}
