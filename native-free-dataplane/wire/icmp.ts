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
import { finishChecksum, sumBytes, updateChecksum16 } from './checksum.ts';

/** Header length; in an error, the quoted packet starts after it. */
export const ICMP_BYTES = 8;

const CODE = 1;
const CHECKSUM = 2;
const IDENTIFIER = 4;
const GATEWAY = 4;
const SEQUENCE = 6;
const MTU = 6;

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

/** The only code of queries and their replies. */
export const ICMP_QUERY_CODE = 0;

/** Codes of ICMP_UNREACHABLE (RFC 792, RFC 1812 §5.2.7.1). */
export const UNREACHABLE_NETWORK = 0;
export const UNREACHABLE_HOST = 1;
export const UNREACHABLE_PROTOCOL = 2;
export const UNREACHABLE_PORT = 3;
export const UNREACHABLE_FRAGMENTATION_NEEDED = 4;
export const UNREACHABLE_PROHIBITED = 13;
/** Code of ICMP_TIME_EXCEEDED: in transit, not during reassembly. */
export const TIME_EXCEEDED_TTL = 0;

/** Message type. */
export function icmpType(view: DataView, l4: number): number {
  return view.getUint8(l4);
}

/** Message code; its meaning depends on the type. */
export function icmpCode(view: DataView, l4: number): number {
  return view.getUint8(l4 + CODE);
}

/** The checksum field. */
export function icmpChecksum(view: DataView, l4: number): number {
  return view.getUint16(l4 + CHECKSUM);
}

/** Identifier of a query or its reply. */
export function icmpIdentifier(view: DataView, l4: number): number {
  return view.getUint16(l4 + IDENTIFIER);
}

/** Sequence number of a query or its reply. */
export function icmpSequence(view: DataView, l4: number): number {
  return view.getUint16(l4 + SEQUENCE);
}

/** Next-hop MTU of "fragmentation needed"; 0 from routers older than RFC 1191. */
export function icmpMtu(view: DataView, l4: number): number {
  return view.getUint16(l4 + MTU);
}

/** Gateway address of a redirect, int32. */
export function icmpRedirectGateway(view: DataView, l4: number): number {
  return view.getInt32(l4 + GATEWAY);
}

/**
 * Is this the type of an error message, which quotes a packet? Errors are never sent about errors (RFC 1812 §4.3.2.7).
 */
export function isIcmpError(type: number): boolean {
  return (
    type === ICMP_UNREACHABLE ||
    type === ICMP_SOURCE_QUENCH ||
    type === ICMP_REDIRECT ||
    type === ICMP_TIME_EXCEEDED ||
    type === ICMP_PARAMETER_PROBLEM
  );
}

/**
 * Request type of a query: the type itself if it is a request, the type it replies to if it is a reply; -1 otherwise.
 */
export function icmpQueryType(type: number): number {
  if (type === ICMP_ECHO_REQUEST || type === ICMP_ECHO_REPLY) return ICMP_ECHO_REQUEST;
  if (type === ICMP_TIMESTAMP_REQUEST || type === ICMP_TIMESTAMP_REPLY) return ICMP_TIMESTAMP_REQUEST;
  if (type === ICMP_MASK_REQUEST || type === ICMP_MASK_REPLY) return ICMP_MASK_REQUEST;
  return -1;
}

/**
 * The type of the reply to a request of this type, of either family (ICMPv6: RFC 4443 §4.1). Only for request types.
 */
export function icmpReplyType(request: number): number {
  return request === ICMP_ECHO_REQUEST ? ICMP_ECHO_REPLY : request + 1;
}

/** Is this the type of a request (and not of its reply)? */
export function isIcmpRequest(type: number): boolean {
  return type === ICMP_ECHO_REQUEST || type === ICMP_TIMESTAMP_REQUEST || type === ICMP_MASK_REQUEST;
}

/**
 * A query's equivalent of ports, source << 16 | destination: the identifier as the querying side's port, the request's
 * type as the other side's (RFC 5508 §3.1). Only for query types.
 */
export function icmpPortsWord(view: DataView, l4: number): number {
  const type = icmpType(view, l4);
  const identifier = icmpIdentifier(view, l4);
  return isIcmpRequest(type) ? (identifier << 16) | type : (icmpQueryType(type) << 16) | identifier;
}

/** Write a new identifier and update the checksum, which covers no addresses. @param ports as icmpPortsWord */
export function rewriteIcmpPorts(view: DataView, l4: number, ports: number): void {
  const identifier = isIcmpRequest(icmpType(view, l4)) ? ports >>> 16 : ports & 0xffff;
  const before = icmpIdentifier(view, l4);
  if (identifier === before) return;
  view.setUint16(l4 + IDENTIFIER, identifier);
  view.setUint16(l4 + CHECKSUM, updateChecksum16(view.getUint16(l4 + CHECKSUM), before, identifier));
}

/** Turn an echo request into its reply in place: change the type and update the checksum. */
export function answerEchoInPlace(view: DataView, l4: number): void {
  const before = view.getUint16(l4);
  const after = (ICMP_ECHO_REPLY << 8) | (before & 0xff);
  view.setUint16(l4, after);
  view.setUint16(l4 + CHECKSUM, updateChecksum16(view.getUint16(l4 + CHECKSUM), before, after));
}

/** Is the checksum over the message [l4, end) right? */
export function isIcmpIntact(view: DataView, l4: number, end: number): boolean {
  return finishChecksum(sumBytes(view, l4, end, 0)) === 0;
}

/** Compute and set the checksum over the message [l4, end). */
export function writeIcmpChecksum(view: DataView, l4: number, end: number): void {
  view.setUint16(l4 + CHECKSUM, 0);
  view.setUint16(l4 + CHECKSUM, finishChecksum(sumBytes(view, l4, end, 0)));
}

/** Write a header with checksum 0. @param rest second word: identifier and sequence number, MTU, or 0 */
export function emitIcmp(view: DataView, l4: number, type: number, code: number, rest: number): void {
  view.setInt32(l4, (type << 24) | (code << 16));
  view.setInt32(l4 + IDENTIFIER, rest);
}
