/**
 * The UDP header. The caller has made sure that UDP_BYTES lie inside the packet.
 *
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +-------------------------------+-------------------------------+
 *  |          source port          |       destination port        |  0
 *  |            length             |           checksum            |  4
 *  +-------------------------------+-------------------------------+
 *
 * A checksum of 0 means "none" over IPv4; a computed 0 is sent as 0xffff. See RFC 768.
 */
export const UDP_BYTES = 8;

export const UDP_SOURCE_PORT = 0;
export const UDP_DESTINATION_PORT = 2;
export const UDP_LENGTH = 4;
export const UDP_CHECKSUM = 6;

export function udpSourcePort(view: DataView, l4: number): number {
  return view.getUint16(l4);
}

export function udpDestinationPort(view: DataView, l4: number): number {
  return view.getUint16(l4 + UDP_DESTINATION_PORT);
}

/** Header and payload, bytes; below 8 it is invalid. */
export function udpLength(view: DataView, l4: number): number {
  return view.getUint16(l4 + UDP_LENGTH);
}

export function udpChecksum(view: DataView, l4: number): number {
  return view.getUint16(l4 + UDP_CHECKSUM);
}

/** Write a header without a checksum. `bytes` counts header and payload. */
export function emitUdp(view: DataView, l4: number, srcPort: number, dstPort: number, bytes: number): void {
  view.setUint16(l4, srcPort);
  view.setUint16(l4 + UDP_DESTINATION_PORT, dstPort);
  view.setUint16(l4 + UDP_LENGTH, bytes);
  view.setUint16(l4 + UDP_CHECKSUM, 0);
}
