/**
 * The ICMP errors that the pipeline sends: five kinds, with type and code. ICMPv6 (RFC 4443 §3) needs a second table of
 * types and codes, and a checksum that covers the pseudo-header; the kinds and the callers are the same for both
 * families.
 *
 * See RFC 792, RFC 1812 §4.3.2 and §5.2.7.1, RFC 1191 §4.
 */
import {
  emitIcmp,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  TIME_EXCEEDED_TTL,
  UNREACHABLE_FRAGMENTATION_NEEDED,
  UNREACHABLE_HOST,
  UNREACHABLE_PORT,
  UNREACHABLE_PROHIBITED,
  writeIcmpChecksum,
} from './icmp.ts';

export const IcmpError = {
  /** No process listens on the port. */
  PORT_UNREACHABLE: 0,
  /** No route to the destination. */
  HOST_UNREACHABLE: 1,
  /** Communication is administratively prohibited. */
  PROHIBITED: 2,
  /** The packet exceeds the MTU of the next link, which the error states. */
  TOO_BIG: 3,
  /** Time to live (hop limit) exceeded in transit. */
  TTL_EXCEEDED: 4,
} as const;
export type IcmpError = (typeof IcmpError)[keyof typeof IcmpError];

const TYPES: readonly number[] = [
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE,
  ICMP_TIME_EXCEEDED,
];
const CODES: readonly number[] = [
  UNREACHABLE_PORT,
  UNREACHABLE_HOST,
  UNREACHABLE_PROHIBITED,
  UNREACHABLE_FRAGMENTATION_NEEDED,
  TIME_EXCEEDED_TTL,
];

/** The longest error, network header included (RFC 1812 §4.3.2.3); IPv6: 1280 (RFC 4443 §2.4 (c)). */
export const MAX_ICMP_ERROR_BYTES = 576;

/** ICMP type of an error. */
export function icmpErrorType(error: IcmpError): number {
  return TYPES[error];
}

/** ICMP code of an error. */
export function icmpErrorCode(error: IcmpError): number {
  return CODES[error];
}

/**
 * Write the header of an error in front of the quoted packet, which must be in place, and set the checksum over both.
 * @param end one past the quote's last byte
 * @param mtu of the next link for TOO_BIG, else 0
 */
export function emitIcmpError(view: DataView, l4: number, end: number, error: IcmpError, mtu: number): void {
  emitIcmp(view, l4, TYPES[error], CODES[error], mtu);
  writeIcmpChecksum(view, l4, end);
}
