/**
 * SCTP's checksum, as far as translation needs it. A CRC32c over header and chunks, ports included, addresses not.
 *
 * A CRC is linear: those of two messages of one length differ by that of their difference (all zeroes but the ports), so
 * the field is changed by as much and a checksum that was wrong stays wrong. Read before editing: RFC 9260 §6.8 and
 * appendix A (reflected polynomial 0x82f63b78; the register's low byte goes on the wire first).
 */
export const SCTP_BYTES = 12;
export const SCTP_CHECKSUM = 8;

const TABLE: Int32Array = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) !== 0 ? 0x82f63b78 : 0);
  return crc;
});

/**
 * Make the checksum right for other ports.
 * @param before source port << 16 | destination port, as the packet at `l4` has them; @param after as it will have them
 * @param end one past the packet's last byte: the whole packet must be there, no fragment
 */
export function updateSctpChecksum(view: DataView, l4: number, end: number, before: number, after: number): void {
  const ports = before ^ after;
  if (ports === 0) return;
  let crc = 0;
  for (let shift = 24; shift >= 0; shift -= 8) crc = (crc >>> 8) ^ TABLE[(crc ^ (ports >>> shift)) & 0xff];
  for (let at = l4 + 4; at < end; at++) crc = (crc >>> 8) ^ TABLE[crc & 0xff];
  view.setInt32(l4 + SCTP_CHECKSUM, view.getInt32(l4 + SCTP_CHECKSUM, true) ^ crc, true);
}
