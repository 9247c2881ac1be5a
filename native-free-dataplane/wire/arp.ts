/**
 * ARP for IPv4 over Ethernet. Packets of other hardware or protocol types must be rejected with isEthernetArp first.
 *
 *   0       2       4   5   6       8                   14
 *  +-------+-------+---+---+-------+-------------------+---------------+
 *  | hw: 1 |0x0800 | 6 | 4 | oper  |    sender MAC     |   sender IP   |
 *  +-------+-------+---+---+-------+-------------------+---------------+
 *                                  18                  24
 *                                  +-------------------+---------------+
 *                                  |    target MAC     |   target IP   |
 *                                  +-------------------+---------------+
 *
 * See RFC 826 (format) and RFC 5227 (probes: sender IP 0).
 */
export const ARP_BYTES = 28;

export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

const SIZES = 4;
const OPERATION = 6;
const SENDER_MAC = 8;
const SENDER_IP = 14;
const TARGET_MAC = 18;
const TARGET_IP = 24;

/** Hardware type Ethernet, protocol type IPv4. */
const ETHERNET_IPV4 = 0x00010800;
/** Address sizes 6 and 4. */
const SIZES_6_4 = 0x0604;

/** Is this ARP for IPv4 over Ethernet? The caller has checked that ARP_BYTES lie inside the frame. */
export function isEthernetArp(view: DataView, at: number): boolean {
  return view.getInt32(at) === ETHERNET_IPV4 && view.getUint16(at + SIZES) === SIZES_6_4;
}

/** ARP_REQUEST, ARP_REPLY or anything else. */
export function arpOperation(view: DataView, at: number): number {
  return view.getUint16(at + OPERATION);
}

/** First 16 bits of the sender's MAC. */
export function arpSenderMacHigh(view: DataView, at: number): number {
  return view.getUint16(at + SENDER_MAC);
}

/** Last 32 bits of the sender's MAC, int32. */
export function arpSenderMacLow(view: DataView, at: number): number {
  return view.getInt32(at + SENDER_MAC + 2);
}

/** Sender's IPv4 address, int32. */
export function arpSenderIp(view: DataView, at: number): number {
  return view.getInt32(at + SENDER_IP);
}

/** Target's IPv4 address, int32. */
export function arpTargetIp(view: DataView, at: number): number {
  return view.getInt32(at + TARGET_IP);
}

/** Write the fields before the addresses. */
export function emitArp(view: DataView, at: number, operation: number): void {
  view.setInt32(at, ETHERNET_IPV4);
  view.setUint16(at + SIZES, SIZES_6_4);
  view.setUint16(at + OPERATION, operation);
}

/** Write the sender. @param ip int32 */
export function writeArpSender(view: DataView, at: number, macHigh: number, macLow: number, ip: number): void {
  view.setUint16(at + SENDER_MAC, macHigh);
  view.setInt32(at + SENDER_MAC + 2, macLow);
  view.setInt32(at + SENDER_IP, ip);
}

/** Write the target. @param ip int32 */
export function writeArpTarget(view: DataView, at: number, macHigh: number, macLow: number, ip: number): void {
  view.setUint16(at + TARGET_MAC, macHigh);
  view.setInt32(at + TARGET_MAC + 2, macLow);
  view.setInt32(at + TARGET_IP, ip);
}

/** Turn the request at `at` into its reply in place: the target's IP address is at this MAC. */
export function answerArpInPlace(view: DataView, at: number, macHigh: number, macLow: number): void {
  const target = arpTargetIp(view, at);
  writeArpTarget(view, at, arpSenderMacHigh(view, at), arpSenderMacLow(view, at), arpSenderIp(view, at));
  writeArpSender(view, at, macHigh, macLow, target);
  view.setUint16(at + OPERATION, ARP_REPLY);
}
