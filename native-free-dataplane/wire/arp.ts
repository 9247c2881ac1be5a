/**
 * ARP for IPv4 over Ethernet. Other hardware or protocol types are told apart by isEthernetArp and never read further.
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

export const ARP_OPERATION = 6;
export const ARP_SENDER_MAC = 8;
export const ARP_SENDER_IP = 14;
export const ARP_TARGET_MAC = 18;
export const ARP_TARGET_IP = 24;

export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

/** Hardware Ethernet, protocol IPv4, sizes 6 and 4. The caller has made sure of ARP_BYTES. */
export function isEthernetArp(view: DataView, at: number): boolean {
  return view.getUint32(at) === 0x00010800 && view.getUint16(at + 4) === 0x0604;
}

/** ARP_REQUEST, ARP_REPLY or anything else. */
export function arpOperation(view: DataView, at: number): number {
  return view.getUint16(at + ARP_OPERATION);
}

/** First 16 bits of the sender's MAC. */
export function arpSenderMacHigh(view: DataView, at: number): number {
  return view.getUint16(at + ARP_SENDER_MAC);
}

/** Last 32 bits of the sender's MAC, as int32. */
export function arpSenderMacLow(view: DataView, at: number): number {
  return view.getInt32(at + ARP_SENDER_MAC + 2);
}

/** First 16 bits of the target's MAC. */
export function arpTargetMacHigh(view: DataView, at: number): number {
  return view.getUint16(at + ARP_TARGET_MAC);
}

/** Last 32 bits of the target's MAC, as int32. */
export function arpTargetMacLow(view: DataView, at: number): number {
  return view.getInt32(at + ARP_TARGET_MAC + 2);
}

/** Sender's IPv4 address, as int32. */
export function arpSenderIp(view: DataView, at: number): number {
  return view.getInt32(at + ARP_SENDER_IP);
}

/** Target's IPv4 address, as int32. */
export function arpTargetIp(view: DataView, at: number): number {
  return view.getInt32(at + ARP_TARGET_IP);
}

/** Write a whole ARP packet; addresses as int32. */
export function emitArp(
  view: DataView,
  at: number,
  operation: number,
  senderMacHigh: number,
  senderMacLow: number,
  senderIp: number,
  targetMacHigh: number,
  targetMacLow: number,
  targetIp: number,
): void {
  view.setUint32(at, 0x00010800);
  view.setUint16(at + 4, 0x0604);
  view.setUint16(at + ARP_OPERATION, operation);
  view.setUint16(at + ARP_SENDER_MAC, senderMacHigh);
  view.setInt32(at + ARP_SENDER_MAC + 2, senderMacLow);
  view.setInt32(at + ARP_SENDER_IP, senderIp);
  view.setUint16(at + ARP_TARGET_MAC, targetMacHigh);
  view.setInt32(at + ARP_TARGET_MAC + 2, targetMacLow);
  view.setInt32(at + ARP_TARGET_IP, targetIp);
}

/** Turn the request at `at` into its answer in place: the target's IP is at this MAC. */
export function answerArpInPlace(view: DataView, at: number, macHigh: number, macLow: number): void {
  const askerHigh = arpSenderMacHigh(view, at);
  const askerLow = arpSenderMacLow(view, at);
  const askerIp = arpSenderIp(view, at);
  emitArp(view, at, ARP_REPLY, macHigh, macLow, arpTargetIp(view, at), askerHigh, askerLow, askerIp);
}
