/**
 * Ethernet II. Nothing is checked here: the caller has made sure that ETHERNET_BYTES lie inside the frame.
 *
 *   0                   6                   12      14
 *  +-------------------+-------------------+-------+----------
 *  |  destination MAC  |    source MAC     | type  | payload …
 *  +-------------------+-------------------+-------+----------
 *
 * A MAC address is two numbers everywhere: its first 16 bits and the 32 below. See IEEE 802.3 §3.2; types: IEEE 802
 * numbers (IANA).
 */
export const ETHERNET_BYTES = 14;

export const ETHERNET_DESTINATION = 0;
export const ETHERNET_SOURCE = 6;
export const ETHERNET_TYPE = 12;

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_QINQ = 0x88a8;
export const ETHERTYPE_IPV6 = 0x86dd;

/** Bytes of an 802.1Q tag between the source MAC and the type. */
export const VLAN_TAG_BYTES = 4;

/** EtherType, 0..0xffff; below 0x0600 it is the length of an 802.3 frame. */
export function ethernetType(view: DataView, at: number): number {
  return view.getUint16(at + ETHERNET_TYPE);
}

/** First 16 bits of the destination. */
export function destinationMacHigh(view: DataView, at: number): number {
  return view.getUint16(at);
}

/** Last 32 bits of the destination, as int32. */
export function destinationMacLow(view: DataView, at: number): number {
  return view.getInt32(at + 2);
}

/** First 16 bits of the source. */
export function sourceMacHigh(view: DataView, at: number): number {
  return view.getUint16(at + 6);
}

/** Last 32 bits of the source, as int32. */
export function sourceMacLow(view: DataView, at: number): number {
  return view.getInt32(at + 8);
}

/** Is the destination a group address (multicast or broadcast)? */
export function isGroupDestination(view: DataView, at: number): boolean {
  return (view.getUint8(at) & 1) !== 0;
}

/** Write the destination; low words may be int32 or uint32. */
export function writeDestinationMac(view: DataView, at: number, high: number, low: number): void {
  view.setUint16(at, high);
  view.setInt32(at + 2, low);
}

/** Write the source. */
export function writeSourceMac(view: DataView, at: number, high: number, low: number): void {
  view.setUint16(at + 6, high);
  view.setInt32(at + 8, low);
}

/** Write a whole header. */
export function emitEthernet(
  view: DataView,
  at: number,
  destinationHigh: number,
  destinationLow: number,
  sourceHigh: number,
  sourceLow: number,
  type: number,
): void {
  writeDestinationMac(view, at, destinationHigh, destinationLow);
  writeSourceMac(view, at, sourceHigh, sourceLow);
  view.setUint16(at + ETHERNET_TYPE, type);
}
