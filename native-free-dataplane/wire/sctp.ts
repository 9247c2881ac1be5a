/**
 * SCTP, as far as translation needs it. Its checksum is a CRC32c over header and chunks: it covers the ports but not
 * the addresses.
 *
 * A CRC is linear: the CRCs of two messages of equal length differ by the CRC of their difference, which here is zero
 * except for the ports. So the checksum is updated by that difference, and a wrong checksum stays wrong.
 *
 * Read before editing: RFC 9260 §6.8 and appendix A (reflected polynomial 0x82f63b78; the low byte of the register
 * comes first in the header).
 */
import { PORTS_BYTES, portsWord, writePorts } from './ports.ts';

/** Ports, verification tag, checksum (RFC 9260 §3.1). */
export const SCTP_BYTES = 12;

const CHECKSUM = 8;

const TABLE: Int32Array = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) !== 0 ? 0x82f63b78 : 0);
  return crc;
});

/**
 * Write new ports and update the checksum.
 * @param end one past the packet's last byte; the packet must not be a fragment
 * @param ports source << 16 | destination
 */
export function rewriteSctpPorts(view: DataView, l4: number, end: number, ports: number): void {
  const changed = portsWord(view, l4) ^ ports;
  if (changed === 0) return;
  writePorts(view, l4, ports);
  let crc = 0;
  for (let shift = 24; shift >= 0; shift -= 8) crc = (crc >>> 8) ^ TABLE[(crc ^ (changed >>> shift)) & 0xff];
  for (let at = l4 + PORTS_BYTES; at < end; at++) crc = (crc >>> 8) ^ TABLE[crc & 0xff];
  view.setInt32(l4 + CHECKSUM, view.getInt32(l4 + CHECKSUM, true) ^ crc, true);
}
