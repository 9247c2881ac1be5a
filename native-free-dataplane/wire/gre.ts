/**
 * The GRE header, as far as the packet behind it is to be found. Nothing here builds or forwards GRE.
 *
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +-+-+-+-+-----------------+-----+-------------------------------+
 *  |C| |K|S|    reserved     | ver |         protocol type         |  0
 *  +-+-+-+-+-----------------+-----+-------------------------------+
 *  |  checksum, key and sequence number, four bytes each, as C, K and S say          4
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

/** Bytes of the header at `l4`, of which GRE_MIN_BYTES are there; 0 when it is of another version (PPTP has 1). */
export function greHeaderBytes(view: DataView, l4: number): number {
  const flags = view.getUint16(l4);
  if ((flags & VERSION_MASK) !== 0) return 0;
  let bytes = GRE_MIN_BYTES;
  for (const flag of [CHECKSUM_PRESENT, KEY_PRESENT, SEQUENCE_PRESENT]) if ((flags & flag) !== 0) bytes += FIELD_BYTES;
  return bytes;
}

/** EtherType of what is inside, or GRE_ETHERNET. */
export function greType(view: DataView, l4: number): number {
  return view.getUint16(l4 + TYPE);
}
