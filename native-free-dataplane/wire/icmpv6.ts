/**
 * ICMPv6, and the neighbour discovery messages that live in it. Queries and errors have the shape of ICMP's (icmp.ts);
 * the checksum covers an IPv6 pseudo-header too, and the MTU of "packet too big" is the whole second word.
 *
 *  +---------------+---------------+-------------------------------+
 *  |     type      |     code      |           checksum            |  0
 *  +---------------+---------------+-------------------------------+
 *  |  errors: MTU, pointer or 0;  queries: identifier, sequence    |  4
 *  |  advertisement: R S O flags;  solicitation: reserved          |
 *  +---------------------------------------------------------------+
 *  |  neighbour discovery: target address (4 words)                |  8
 *  |  options: type, length/8, value …                             | 24
 *
 * See RFC 4443 §2.1 and §3, RFC 4861 §4.3, §4.4 and §4.6.
 */
export const ICMPV6_BYTES = 8;
export const ND_BYTES = 24;

export const ICMPV6_CHECKSUM = 2;
export const ICMPV6_MTU = 4;
export const ND_FLAGS = 4;
export const ND_TARGET = 8;
export const ND_OPTIONS = 24;

export const ICMPV6_UNREACHABLE = 1;
export const ICMPV6_TOO_BIG = 2;
export const ICMPV6_TIME_EXCEEDED = 3;
export const ICMPV6_PARAMETER_PROBLEM = 4;
export const ICMPV6_ECHO_REQUEST = 128;
export const ICMPV6_ECHO_REPLY = 129;
export const ICMPV6_ROUTER_SOLICITATION = 133;
export const ICMPV6_ROUTER_ADVERTISEMENT = 134;
export const ICMPV6_NEIGHBOUR_SOLICITATION = 135;
export const ICMPV6_NEIGHBOUR_ADVERTISEMENT = 136;
export const ICMPV6_REDIRECT = 137;

export const ND_OPTION_SOURCE_LINK_ADDRESS = 1;
export const ND_OPTION_TARGET_LINK_ADDRESS = 2;

/** MTU of a "packet too big" message, bytes. */
export function icmpv6Mtu(view: DataView, l4: number): number {
  return view.getUint32(l4 + ICMPV6_MTU);
}

/** Types below 128 are errors and quote a packet (RFC 4443 §2.1). */
export function isIcmpv6Error(type: number): boolean {
  return type < 128;
}

/** Word `index` (0..3) of the target of a solicitation or advertisement, int32. The caller has made sure of ND_BYTES. */
export function ndTargetWord(view: DataView, l4: number, index: number): number {
  return view.getInt32(l4 + ND_TARGET + (index << 2));
}

/**
 * Absolute offset of the MAC in the link-address option of a neighbour message, or 0 without one.
 * An option of length 0 makes the whole message invalid (RFC 4861 §4.6): the answer is 0 then too.
 * @param type ND_OPTION_SOURCE_LINK_ADDRESS or ND_OPTION_TARGET_LINK_ADDRESS
 */
export function ndLinkAddressAt(view: DataView, l4: number, end: number, type: number): number {
  let found = 0;
  for (let at = l4 + ND_OPTIONS; at < end; ) {
    if (end - at < 8) return 0;
    const bytes = view.getUint8(at + 1) << 3;
    if (bytes === 0 || bytes > end - at) return 0;
    if (found === 0 && view.getUint8(at) === type && bytes === 8) found = at + 2;
    at += bytes;
  }
  return found;
}

/** Write a header with checksum 0; `rest` is the second word. */
export function emitIcmpv6(view: DataView, l4: number, type: number, code: number, rest: number): void {
  view.setUint8(l4, type);
  view.setUint8(l4 + 1, code);
  view.setUint16(l4 + ICMPV6_CHECKSUM, 0);
  view.setInt32(l4 + ICMPV6_MTU, rest);
}
