/**
 * The UDP header. The caller has checked that UDP_BYTES lie inside the packet. Ports: ports.ts.
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
import { applyDifference, applyPartialDifference, difference32 } from './checksum.ts';
import { portsWord, writePorts } from './ports.ts';

export const UDP_BYTES = 8;
/** Offset of the checksum in the header (csum_offset of the virtio-net header). */
export const UDP_CHECKSUM = 6;

const LENGTH = 4;

/** Header and payload, bytes; below 8 it is invalid. */
export function udpLength(view: DataView, l4: number): number {
  return view.getUint16(l4 + LENGTH);
}

/** Write the length field; the checksum is left as it is. @param bytes header and payload */
export function writeUdpLength(view: DataView, l4: number, bytes: number): void {
  view.setUint16(l4 + LENGTH, bytes);
}

/** The checksum field; 0 when the sender did not compute one. */
export function udpChecksum(view: DataView, l4: number): number {
  return view.getUint16(l4 + UDP_CHECKSUM);
}

/**
 * Write new ports and update the checksum for them and for the packet's new addresses. A missing checksum (0) stays 0.
 * @param ports source << 16 | destination
 * @param addresses difference of the pseudo-header's sum, as ip.ts rewriteAddresses returned it
 * @param pending not 0 if the field holds only the pseudo-header's sum (NEEDS_CSUM)
 */
export function rewriteUdpPorts(view: DataView, l4: number, ports: number, addresses: number, pending: number): void {
  const before = portsWord(view, l4);
  const field = view.getUint16(l4 + UDP_CHECKSUM);
  writePorts(view, l4, ports);
  if (pending !== 0) view.setUint16(l4 + UDP_CHECKSUM, applyPartialDifference(field, addresses));
  else if (field !== 0) {
    const sum = applyDifference(field, addresses + difference32(before, ports));
    view.setUint16(l4 + UDP_CHECKSUM, sum === 0 ? 0xffff : sum);
  }
}

/** Write a header without a checksum. `bytes` counts header and payload. */
export function emitUdp(view: DataView, l4: number, srcPort: number, dstPort: number, bytes: number): void {
  view.setUint16(l4, srcPort);
  view.setUint16(l4 + 2, dstPort);
  view.setInt32(l4 + LENGTH, bytes << 16);
}
