/**
 * Ethernet II. The caller has checked that ETHERNET_BYTES lie inside the frame.
 *
 *   0                   6                   12      14
 *  +-------------------+-------------------+-------+----------
 *  |  destination MAC  |    source MAC     | type  | payload …
 *  +-------------------+-------------------+-------+----------
 *
 * A MAC address is two numbers everywhere: its upper 16 and its lower 32 bits. A tagged frame (802.1Q) has four more
 * bytes between source and type: with `at` increased by VLAN_TAG_BYTES, the same accessors read the fields after the
 * tag.
 *
 * See IEEE 802.3 §3.2, IEEE 802.1Q §9.6; types: IEEE 802 numbers (IANA).
 */
export const ETHERNET_BYTES = 14;
export const VLAN_TAG_BYTES = 4;

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_QINQ = 0x88a8;
export const ETHERTYPE_IPV6 = 0x86dd;
/** Smaller values of the type field are the length of an 802.3 frame. */
export const ETHERTYPE_MIN = 0x0600;

const SOURCE = 6;
const TYPE = 12;
/** Set in the first byte of a group address. */
const GROUP_BIT = 1;

/** EtherType, 0..0xffff; below ETHERTYPE_MIN it is a length. */
export function ethernetType(view: DataView, at: number): number {
  return view.getUint16(at + TYPE);
}

/** Does a frame of this type carry a VLAN tag? */
export function isVlanType(type: number): boolean {
  return type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ;
}

/** VLAN identifier of a tagged frame. The caller has checked that VLAN_TAG_BYTES more lie inside the frame. */
export function vlanIdentifier(view: DataView, at: number): number {
  return view.getUint16(at + ETHERNET_BYTES) & 0xfff;
}

/** First 16 bits of the destination. */
export function destinationMacHigh(view: DataView, at: number): number {
  return view.getUint16(at);
}

/** Last 32 bits of the destination, int32. */
export function destinationMacLow(view: DataView, at: number): number {
  return view.getInt32(at + 2);
}

/** First 16 bits of the source. */
export function sourceMacHigh(view: DataView, at: number): number {
  return view.getUint16(at + SOURCE);
}

/** Last 32 bits of the source, int32. */
export function sourceMacLow(view: DataView, at: number): number {
  return view.getInt32(at + SOURCE + 2);
}

/** Is this the destination? @param low int32 */
export function isDestinationMac(view: DataView, at: number, high: number, low: number): boolean {
  return destinationMacLow(view, at) === low && destinationMacHigh(view, at) === high;
}

/** Is this the source? @param low int32 */
export function isSourceMac(view: DataView, at: number, high: number, low: number): boolean {
  return sourceMacLow(view, at) === low && sourceMacHigh(view, at) === high;
}

/** Is the destination a group address (multicast or broadcast)? */
export function isGroupDestination(view: DataView, at: number): boolean {
  return (view.getUint8(at) & GROUP_BIT) !== 0;
}

/** Is the source a group address? That is not allowed (IEEE 802.3 §3.2.3). */
export function isGroupSource(view: DataView, at: number): boolean {
  return (view.getUint8(at + SOURCE) & GROUP_BIT) !== 0;
}

/** Write the destination. @param low int32 or uint32 */
export function writeDestinationMac(view: DataView, at: number, high: number, low: number): void {
  view.setUint16(at, high);
  view.setInt32(at + 2, low);
}

/** Write the source. @param low int32 or uint32 */
export function writeSourceMac(view: DataView, at: number, high: number, low: number): void {
  view.setUint16(at + SOURCE, high);
  view.setInt32(at + SOURCE + 2, low);
}

/** Write the EtherType. */
export function writeEthernetType(view: DataView, at: number, type: number): void {
  view.setUint16(at + TYPE, type);
}
