/**
 * ICMP for IPv4. The caller has made sure that ICMP_BYTES lie inside the packet.
 *
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +---------------+---------------+-------------------------------+
 *  |     type      |     code      |           checksum            |  0
 *  +---------------+---------------+-------------------------------+
 *  |  queries: identifier          |  queries: sequence number     |  4
 *  |  type 3 code 4: unused        |  next-hop MTU                 |
 *  +-------------------------------+-------------------------------+
 *  |  queries: data; errors: IP header and start of the packet …   |  8
 *
 * The checksum covers the ICMP message alone. See RFC 792, RFC 1191 §4 (MTU), RFC 950 (types 17, 18), RFC 4884.
 */
export const ICMP_BYTES = 8;

export const ICMP_TYPE = 0;
export const ICMP_CODE = 1;
export const ICMP_CHECKSUM = 2;
export const ICMP_IDENTIFIER = 4;
export const ICMP_SEQUENCE = 6;
export const ICMP_REST = 4;
export const ICMP_MTU = 6;
export const ICMP_QUOTE = 8;

export const ICMP_ECHO_REPLY = 0;
export const ICMP_UNREACHABLE = 3;
export const ICMP_SOURCE_QUENCH = 4;
export const ICMP_REDIRECT = 5;
export const ICMP_ECHO_REQUEST = 8;
export const ICMP_TIME_EXCEEDED = 11;
export const ICMP_PARAMETER_PROBLEM = 12;
export const ICMP_TIMESTAMP_REQUEST = 13;
export const ICMP_TIMESTAMP_REPLY = 14;
export const ICMP_MASK_REQUEST = 17;
export const ICMP_MASK_REPLY = 18;

/** Codes of ICMP_UNREACHABLE (RFC 792, RFC 1812 §5.2.7.1). */
export const UNREACHABLE_NETWORK = 0;
export const UNREACHABLE_HOST = 1;
export const UNREACHABLE_PROTOCOL = 2;
export const UNREACHABLE_PORT = 3;
export const UNREACHABLE_FRAGMENTATION_NEEDED = 4;
export const UNREACHABLE_PROHIBITED = 13;

export function icmpType(view: DataView, l4: number): number {
  return view.getUint8(l4);
}

export function icmpCode(view: DataView, l4: number): number {
  return view.getUint8(l4 + ICMP_CODE);
}

/** Identifier of a query or its answer. */
export function icmpIdentifier(view: DataView, l4: number): number {
  return view.getUint16(l4 + ICMP_IDENTIFIER);
}

/** Sequence number of a query or its answer. */
export function icmpSequence(view: DataView, l4: number): number {
  return view.getUint16(l4 + ICMP_SEQUENCE);
}

/** Next-hop MTU of type 3 code 4; 0 from routers older than RFC 1191. */
export function icmpMtu(view: DataView, l4: number): number {
  return view.getUint16(l4 + ICMP_MTU);
}

/** Does a message of this type quote the packet it is about? No error is ever sent about one (RFC 1812 §4.3.2.7). */
export function isIcmpError(type: number): boolean {
  return (
    type === ICMP_UNREACHABLE ||
    type === ICMP_SOURCE_QUENCH ||
    type === ICMP_REDIRECT ||
    type === ICMP_TIME_EXCEEDED ||
    type === ICMP_PARAMETER_PROBLEM
  );
}

/** Write a header with checksum 0. `rest` is the word behind the checksum: identifier and sequence, MTU, or 0. */
export function emitIcmp(view: DataView, l4: number, type: number, code: number, rest: number): void {
  view.setUint8(l4, type);
  view.setUint8(l4 + ICMP_CODE, code);
  view.setUint16(l4 + ICMP_CHECKSUM, 0);
  view.setInt32(l4 + ICMP_REST, rest);
}

/** Query types: the request's type for a request or its reply, else -1 (RFC 792, RFC 950). */
export function icmpQueryType(type: number): number {
  if (type === 8 || type === 0) return 8;
  if (type === 13 || type === 14) return 13;
  if (type === 17 || type === 18) return 17;
  return -1;
}

/** 1 when the ICMP type asks, 0 when it answers. Only for query types. */
export function isIcmpRequest(type: number): boolean {
  return type === 8 || type === 13 || type === 17;
}
