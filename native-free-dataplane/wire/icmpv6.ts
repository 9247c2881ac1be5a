/**
 * ICMPv6, as far as it is printed. Queries and errors have the layout of ICMP and are read with icmp.ts, except that
 * the MTU of "packet too big" is the whole second word. The checksum covers an IPv6 pseudo-header too.
 *
 *  +---------------+---------------+-------------------------------+
 *  |     type      |     code      |           checksum            |  0
 *  +---------------+---------------+-------------------------------+
 *  |  errors: MTU, pointer or 0;  queries: identifier, sequence    |  4
 *  +---------------------------------------------------------------+
 *  |  neighbour discovery: target address (4 words)                |  8
 *  |  options: type, length/8, value …                             | 24
 *
 * See RFC 4443 §2.1 and §3, RFC 4861 §4.3 and §4.4.
 */
/** Header and target address of a neighbour solicitation or advertisement. */
export const ND_BYTES = 24;

const MTU = 4;
const ND_TARGET = 8;
/** Types from here on are informational messages (RFC 4443 §2.1). */
const FIRST_INFORMATIONAL = 128;

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

/** MTU of a "packet too big" message, bytes. */
export function icmpv6Mtu(view: DataView, l4: number): number {
  return view.getUint32(l4 + MTU);
}

/** Is this the type of an error message, which quotes a packet? */
export function isIcmpv6Error(type: number): boolean {
  return type < FIRST_INFORMATIONAL;
}

/** Word `index` (0..3) of the target of a solicitation or advertisement, int32. ND_BYTES must lie inside the packet. */
export function ndTargetWord(view: DataView, l4: number, index: number): number {
  return view.getInt32(l4 + ND_TARGET + (index << 2));
}
