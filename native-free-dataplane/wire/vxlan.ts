/**
 * The VXLAN header, and what stands in front of it over IPv4.
 *
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +-+-+-+-+-+-+-+-+-----------------------------------------------+
 *  |R|R|R|R|I|R|R|R|                   reserved                    |  0
 *  +-+-+-+-+-+-+-+-+-----------------------------+-----------------+
 *  |       VXLAN network identifier (VNI)        |    reserved     |  4
 *  +---------------------------------------------+-----------------+
 *
 *  frame: Ethernet 14 · IPv4 20 · UDP 8 · VXLAN 8 · inner Ethernet 14 · inner IP …
 *
 * See RFC 7348 §5.
 */
export const VXLAN_BYTES = 8;
/** Bytes in front of the inner Ethernet header: over IPv4, and over IPv6. */
export const VXLAN_OVERHEAD_IPV4: number = 14 + 20 + 8 + 8;
export const VXLAN_OVERHEAD_IPV6: number = 14 + 40 + 8 + 8;

/** UDP port by IANA, and the one Linux and flannel's older clusters use (linux: vxlan_port, 8472). */
export const VXLAN_PORT = 4789;

/** First word of a header that says "the VNI is valid" and nothing else. */
export const VXLAN_FLAGS_WORD = 0x08000000;

/** Flags and reserved bits: the whole first word, int32. */
export function vxlanFlagsWord(view: DataView, at: number): number {
  return view.getInt32(at);
}

/** Network identifier, 0..2^24-1. */
export function vxlanNetwork(view: DataView, at: number): number {
  return view.getUint32(at + 4) >>> 8;
}

/** VNI flag set, and every reserved bit clear (linux: vxlan_rcv drops others; the RFC says to ignore them). */
export function isCleanVxlan(view: DataView, at: number): boolean {
  return view.getInt32(at) === VXLAN_FLAGS_WORD && view.getUint8(at + 7) === 0;
}

/** Write a header. */
export function emitVxlan(view: DataView, at: number, network: number): void {
  view.setInt32(at, VXLAN_FLAGS_WORD);
  view.setInt32(at + 4, network << 8);
}
