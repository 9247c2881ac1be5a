/**
 * The GRE header, as far as it is needed to find the packet inside. The data plane neither builds nor forwards GRE.
 *
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +-+-+-+-+-----------------+-----+-------------------------------+
 *  |C| |K|S|    reserved     | ver |         protocol type         |  0
 *  +-+-+-+-+-----------------+-----+-------------------------------+
 *  |  checksum, key and sequence number, four bytes each, if C, K and S are set      4
 *
 * See RFC 2784 §2, RFC 2890 §2.
 */
export const GRE_MIN_BYTES = 4;
/** Protocol type of an Ethernet frame (IEEE 802, "transparent Ethernet bridging"); others are EtherTypes. */
export const GRE_ETHERNET = 0x6558;

const CHECKSUM_PRESENT = 0x8000;
const KEY_PRESENT = 0x2000;
const SEQUENCE_PRESENT = 0x1000;
const VERSION_MASK = 7;
const TYPE = 2;
const FIELD_BYTES = 4;

/** Length of the header at `l4`, of which GRE_MIN_BYTES must be present; 0 for another version (PPTP uses 1). */
export function greHeaderBytes(view: DataView, l4: number): number {
  const flags = view.getUint16(l4);
  if ((flags & VERSION_MASK) !== 0) return 0;
  let bytes = GRE_MIN_BYTES;
  for (const flag of [CHECKSUM_PRESENT, KEY_PRESENT, SEQUENCE_PRESENT]) if ((flags & flag) !== 0) bytes += FIELD_BYTES;
  return bytes;
}

/** EtherType of the packet inside, or GRE_ETHERNET. */
export function greType(view: DataView, l4: number): number {
  return view.getUint16(l4 + TYPE);
}
