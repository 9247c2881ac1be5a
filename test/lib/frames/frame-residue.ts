/**
 * An independent check of a frame's checksums, sharing no code with the pipeline. The residue of a packet is the ones'
 * complement sum of everything its transport checksum covers, including the field: 0 if the checksum is right, and
 * equal before and after a correct translation even if it is wrong (RFC 1624 §3).
 */

/** State of a packet's transport checksum. */
export interface Residue {
  /**
   * full: finished. pending: the field holds a sum of the pseudo-header that the kernel will finish. none: the packet
   * has none (UDP zero, a protocol without). part: a fragment, whose sum needs the others.
   */
  kind: 'full' | 'pending' | 'none' | 'part';
  /** 0..0xfffe, 0 = right. For a part, the contribution of its bytes (and of the first one's addresses) to the sum. */
  value: number;
}

/** Sum of 16-bit words modulo 0xffff; an odd last byte is padded with zero. */
function sumOf(view: DataView, from: number, to: number): number {
  let sum = 0;
  let at = from;
  for (; at + 1 < to; at += 2) sum += view.getUint16(at);
  if (at < to) sum += view.getUint8(at) << 8;
  return sum % 0xffff;
}

/** Addresses, protocol and length of an IPv4 packet's transport part. */
function pseudoHeader(view: DataView, l3: number, protocol: number, transportBytes: number): number {
  return (sumOf(view, l3 + 12, l3 + 20) + protocol + transportBytes) % 0xffff;
}

/** Is the IPv4 header checksum right? */
export function ipv4HeaderIsRight(view: DataView, l3: number): boolean {
  return sumOf(view, l3, l3 + ((view.getUint8(l3) & 15) << 2)) === 0;
}

/**
 * The residue of the IPv4 packet at `l3`, whose lengths are right.
 * @param pending the packet's checksum is pending according to the offload header
 */
export function residueOf(view: DataView, l3: number, pending: boolean): Residue {
  const headerBytes = (view.getUint8(l3) & 15) << 2;
  const end = l3 + view.getUint16(l3 + 2);
  const l4 = l3 + headerBytes;
  const protocol = view.getUint8(l3 + 9);
  const fragment = view.getUint16(l3 + 6);
  const field = protocol === 6 ? l4 + 16 : protocol === 17 ? l4 + 6 : protocol === 1 ? l4 + 2 : 0;
  if ((fragment & 0x1fff) !== 0) return { kind: 'part', value: sumOf(view, l4, end) };
  if (field === 0 || field + 2 > end) return { kind: 'none', value: 0 };
  const bytes = end - l4;
  if ((fragment & 0x2000) !== 0) {
    if (protocol === 17 && view.getUint16(field) === 0) return { kind: 'none', value: 0 };
    const addresses = protocol === 1 ? 0 : sumOf(view, l3 + 12, l3 + 20);
    return { kind: 'part', value: (sumOf(view, l4, end) + addresses) % 0xffff };
  }
  if (pending) {
    const value = (view.getUint16(field) + 0xffff - pseudoHeader(view, l3, protocol, bytes)) % 0xffff;
    return { kind: 'pending', value };
  }
  if (protocol === 17 && view.getUint16(field) === 0) return { kind: 'none', value: 0 };
  const pseudo = protocol === 1 ? 0 : pseudoHeader(view, l3, protocol, bytes);
  return { kind: 'full', value: (sumOf(view, l4, end) + pseudo) % 0xffff };
}

/** Correct the checksum of the IPv4 header at `l3`, assuming 20 bytes, whatever its IHL. */
export function repairHeaderChecksum(view: DataView, l3: number): void {
  view.setUint16(l3 + 10, 0);
  view.setUint16(l3 + 10, ~sumOf(view, l3, l3 + 20) & 0xffff);
}

/** Correct the checksums of the IPv4 packet at `l3`, as far as its lengths allow locating them. */
export function repairChecksums(view: DataView, l3: number, end: number, transport: boolean, pending: boolean): void {
  if (end - l3 < 20) return;
  const headerBytes = (view.getUint8(l3) & 15) << 2;
  if (headerBytes < 20 || l3 + headerBytes > end) return;
  view.setUint16(l3 + 10, 0);
  view.setUint16(l3 + 10, ~sumOf(view, l3, l3 + headerBytes) & 0xffff);
  const last = l3 + view.getUint16(l3 + 2);
  const protocol = view.getUint8(l3 + 9);
  const l4 = l3 + headerBytes;
  const field = protocol === 6 ? l4 + 16 : protocol === 17 ? l4 + 6 : protocol === 1 ? l4 + 2 : 0;
  if (!transport || field === 0 || field + 2 > last || last > end || (view.getUint16(l3 + 6) & 0x3fff) !== 0) return;
  if (protocol === 17 && view.getUint16(field) === 0 && !pending) return;
  const pseudo = protocol === 1 ? 0 : pseudoHeader(view, l3, protocol, last - l4);
  view.setUint16(field, 0);
  const sum = pending ? pseudo : ~((sumOf(view, l4, last) + pseudo) % 0xffff) & 0xffff;
  view.setUint16(field, sum === 0 && protocol === 17 && !pending ? 0xffff : sum);
}
