/**
 * Cutting: super-packets into segments where the kernel cannot take them whole, and packets into IPv4 fragments where
 * the link is too small and the sender allows it.
 *
 * Both work in place, front to back: the headers of piece k are written right in front of its payload, over the tail
 * of piece k-1, which has been sent by then. Payload bytes never move. A segment's checksum stays pending, so the
 * kernel (or nobody, if the frame never leaves the machine) sums it.
 *
 * Read before editing: linux net/ipv4/tcp_offload.c tcp_gso_segment (sequence, PSH/FIN/CWR flags), RFC 791 §3.2.
 */

import type { Dataplane } from '../dataplane.ts';
import { GSO_NONE, GSO_TCPV4, GSO_UDP_L4, type Packet } from '../packet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import { Verdict } from '../verdicts.ts';
import { finishChecksum, sumBytes } from '../wire/checksum.ts';
import { ipv4HeaderChecksum } from '../wire/ipv4.ts';
import { pseudoHeaderSum } from '../wire/transport-checksum.ts';

const FIN_AND_PUSH = 0x09;
const CWR = 0x80;

/** Where the pieces' common headers are kept while the packet is cut up; the largest: 74 + 60 + 60 bytes. */
const SAVED_BYTES = 256;
const saved: Uint8Array = new Uint8Array(SAVED_BYTES);
const savedView: DataView = new DataView(saved.buffer);

/**
 * Begin cutting a TCP or UDP super-packet. The caller then sends pieces 0..n-1, each made by `segmentAt`.
 * @returns the number of segments, 0 when it cannot be cut
 */
export function countSegments(pkt: Packet): number {
  if (pkt.gsoSize < 1 || (pkt.gsoType !== GSO_TCPV4 && pkt.gsoType !== GSO_UDP_L4)) return 0;
  if (pkt.headersEnd <= pkt.l4 || pkt.headersEnd - pkt.l3 > SAVED_BYTES || pkt.headersEnd > pkt.end) return 0;
  return Math.ceil((pkt.end - pkt.headersEnd) / pkt.gsoSize);
}

/** What `cutSegments` calls for each finished segment: pkt stands for it, from its IP header on. */
export interface SegmentTaker {
  take(pkt: Packet, dp: Dataplane, hop: number): void;
}

/** Cut a super-packet and hand every segment to `taker`. @returns GO_ON or SEGMENTATION_FAILED */
export function cutSegments(pkt: Packet, dp: Dataplane, hop: number, taker: SegmentTaker): Verdict {
  const count = countSegments(pkt);
  if (count === 0) return Verdict.SEGMENTATION_FAILED;
  const { bytes, view, l3, l4, end } = pkt;
  const headerBytes = pkt.headersEnd - l3;
  const l4Offset = l4 - l3;
  const payload = pkt.headersEnd;
  const size = pkt.gsoSize;
  for (let i = 0; i < headerBytes; i++) saved[i] = bytes[l3 + i];
  const sequence = pkt.protocol === PROTOCOL_TCP ? savedView.getUint32(l4Offset + 4) : 0;
  const identification = savedView.getUint16(4);
  const flags = savedView.getUint8(l4Offset + 13);
  pkt.gsoType = GSO_NONE;
  for (let k = 0; k < count; k++) {
    const from = payload + k * size;
    const to = from + size < end ? from + size : end;
    const at = from - headerBytes;
    for (let i = 0; i < headerBytes; i++) bytes[at + i] = saved[i];
    pkt.l3 = at;
    pkt.l4 = at + l4Offset;
    pkt.headersEnd = from;
    pkt.end = to;
    view.setUint16(at + 2, to - at);
    view.setUint16(at + 4, (identification + k) & 0xffff);
    view.setUint16(at + 10, 0);
    view.setUint16(at + 10, ipv4HeaderChecksum(view, at, l4Offset));
    if (pkt.protocol === PROTOCOL_TCP) {
      view.setUint32(pkt.l4 + 4, (sequence + k * size) >>> 0);
      let own = flags;
      if (k < count - 1) own &= ~FIN_AND_PUSH;
      if (k > 0) own &= ~CWR;
      view.setUint8(pkt.l4 + 13, own);
      pkt.checksumOffset = 16;
    } else {
      view.setUint16(pkt.l4 + 4, to - pkt.l4);
      pkt.checksumOffset = 6;
    }
    pkt.needsChecksum = 1;
    pkt.checksumStart = pkt.l4;
    view.setUint16(pkt.l4 + pkt.checksumOffset, foldSum(pseudoHeaderSum(view, at, pkt.protocol, to - pkt.l4)));
    taker.take(pkt, dp, hop);
  }
  return Verdict.GO_ON;
}

function foldSum(sum: number): number {
  return ~finishChecksum(sum) & 0xffff;
}

/** Finish a pending checksum: the packet is about to lose its offload header. */
export function completeChecksum(pkt: Packet): void {
  if (pkt.needsChecksum === 0) return;
  const { view } = pkt;
  const field = pkt.checksumStart + pkt.checksumOffset;
  const sum = finishChecksum(sumBytes(view, pkt.checksumStart, pkt.end, 0));
  view.setUint16(field, sum === 0 && pkt.protocol === PROTOCOL_UDP ? 0xffff : sum);
  pkt.needsChecksum = 0;
}

/**
 * Cut an IPv4 packet into fragments that fit `mtu` and hand each to `taker`. Options that are not to be copied are
 * copied all the same: no option that we let through may not be (source routes never get here).
 */
export function cutFragments(pkt: Packet, dp: Dataplane, hop: number, mtu: number, taker: SegmentTaker): Verdict {
  completeChecksum(pkt);
  const { bytes, view, l3, end } = pkt;
  const headerBytes = (view.getUint8(l3) & 15) << 2;
  const size = (mtu - headerBytes) & ~7;
  if (size < 8) return Verdict.SEGMENTATION_FAILED;
  for (let i = 0; i < headerBytes; i++) saved[i] = bytes[l3 + i];
  const field = savedView.getUint16(6);
  const baseOffset = field & 0x1fff;
  const moreAfter = field & 0x2000;
  const body = l3 + headerBytes;
  for (let from = body; from < end; from += size) {
    const to = from + size < end ? from + size : end;
    const at = from - headerBytes;
    for (let i = 0; i < headerBytes; i++) bytes[at + i] = saved[i];
    pkt.l3 = at;
    pkt.l4 = from;
    pkt.headersEnd = from;
    pkt.end = to;
    view.setUint16(at + 2, to - at);
    view.setUint16(at + 6, (baseOffset + ((from - body) >> 3)) | (to < end ? 0x2000 : moreAfter));
    view.setUint16(at + 10, 0);
    view.setUint16(at + 10, ipv4HeaderChecksum(view, at, headerBytes));
    taker.take(pkt, dp, hop);
  }
  return Verdict.GO_ON;
}
