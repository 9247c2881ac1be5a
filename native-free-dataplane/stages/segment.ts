/**
 * Cutting packets: super-packets into segments where the kernel cannot take them whole, and packets into IPv4 fragments
 * where the link MTU is too small and the sender permits it.
 *
 * Both work in place, front to back: the headers of piece k are written directly before its payload, over the tail of
 * piece k-1, which has already been sent. Payload bytes never move. A segment's checksum stays pending, so the kernel
 * computes it (or nothing does, if the frame never leaves the machine).
 *
 * Read before editing: linux net/ipv4/tcp_offload.c tcp_gso_segment (sequence, PSH/FIN/CWR flags), RFC 791 §3.2.
 */
import type { Dataplane } from '../dataplane.ts';
import { GSO_NONE, type Packet } from '../packet.ts';
import { PROTOCOL_TCP } from '../protocols.ts';
import { fragmentIdentification, writeSegmentHeader } from '../wire/ip.ts';
import {
  IPV4_MORE_FRAGMENTS,
  IPV4_OFFSET_MASK,
  ipv4FragmentWord,
  ipv4HeaderBytes,
  writeIpv4Fragment,
} from '../wire/ipv4.ts';
import { TCP_CWR, TCP_FIN, TCP_PSH, tcpFlags, tcpSequence, writeTcpFlags, writeTcpSequence } from '../wire/tcp.ts';
import { checksumOffsetOf, finishPendingChecksum, writePendingChecksum } from '../wire/transport-checksum.ts';
import { writeUdpLength } from '../wire/udp.ts';

/** Space for the common headers while the packet is cut up; the largest are 74 + 60 + 60 bytes. */
const SAVED_BYTES = 256;
/** Unit of the fragment offset, in bytes. */
const FRAGMENT_UNIT = 8;
const saved: Uint8Array = new Uint8Array(SAVED_BYTES);
const savedView: DataView = new DataView(saved.buffer);
/** The same for fragments: one segment may be cut into several. */
const savedByFragments: Uint8Array = new Uint8Array(SAVED_BYTES);

/** Called by `cutSegments` for each finished segment: pkt describes it, from its IP header on. */
export interface SegmentTaker {
  take(pkt: Packet, dp: Dataplane, hop: number): void;
}

/** Cut a super-packet and pass every segment to `taker`. stages/offload.ts has checked the packet. */
export function cutSegments(pkt: Packet, dp: Dataplane, hop: number, taker: SegmentTaker): void {
  const { bytes, view, l3, l4, end } = pkt;
  const headerBytes = pkt.headersEnd - l3;
  const l4Offset = l4 - l3;
  const payload = pkt.headersEnd;
  const size = pkt.gsoSize;
  const count = Math.ceil((end - payload) / size);
  for (let i = 0; i < headerBytes; i++) saved[i] = bytes[l3 + i];
  const isTcp = pkt.protocol === PROTOCOL_TCP;
  const sequence = isTcp ? tcpSequence(savedView, l4Offset) : 0;
  const flags = isTcp ? tcpFlags(savedView, l4Offset) : 0;
  const identification = fragmentIdentification(savedView, 0);
  pkt.gsoType = GSO_NONE;
  pkt.checksumOffset = checksumOffsetOf(pkt.protocol);
  for (let k = 0; k < count; k++) {
    const from = payload + k * size;
    const to = from + size < end ? from + size : end;
    const at = from - headerBytes;
    for (let i = 0; i < headerBytes; i++) bytes[at + i] = saved[i];
    pkt.l3 = at;
    pkt.l4 = at + l4Offset;
    pkt.headersEnd = from;
    pkt.end = to;
    writeSegmentHeader(view, at, pkt.l4, to, (identification + k) & 0xffff);
    if (isTcp) {
      writeTcpSequence(view, pkt.l4, sequence + k * size);
      let own = flags;
      if (k < count - 1) own &= ~(TCP_FIN | TCP_PSH);
      if (k > 0) own &= ~TCP_CWR;
      writeTcpFlags(view, pkt.l4, own);
    } else writeUdpLength(view, pkt.l4, to - pkt.l4);
    pkt.needsChecksum = 1;
    pkt.checksumStart = pkt.l4;
    writePendingChecksum(view, at, pkt.l4, to, pkt.protocol);
    taker.take(pkt, dp, hop);
  }
}

/** Finish a pending checksum: the packet is about to lose its offload header. */
export function completeChecksum(pkt: Packet): void {
  if (pkt.needsChecksum === 0) return;
  finishPendingChecksum(pkt.view, pkt.checksumStart, pkt.checksumStart + pkt.checksumOffset, pkt.end);
  pkt.needsChecksum = 0;
}

/**
 * Cut an IPv4 packet into fragments that fit `mtu` and pass each to `taker`. Every option is copied into every
 * fragment: the options that must not be copied are ones on which no later hop acts (source routes are dropped
 * earlier).
 */
export function cutFragments(pkt: Packet, dp: Dataplane, hop: number, mtu: number, taker: SegmentTaker): void {
  completeChecksum(pkt);
  const { bytes, view, l3, end } = pkt;
  const headerBytes = ipv4HeaderBytes(view, l3);
  // All fragments but the last have a payload that is a multiple of the offset unit. The maximum keeps a tiny MTU from
  // stopping the loop.
  const size = Math.max(FRAGMENT_UNIT, (mtu - headerBytes) & -FRAGMENT_UNIT);
  for (let i = 0; i < headerBytes; i++) savedByFragments[i] = bytes[l3 + i];
  const word = ipv4FragmentWord(view, l3);
  const body = l3 + headerBytes;
  for (let from = body; from < end; from += size) {
    const to = from + size < end ? from + size : end;
    const at = from - headerBytes;
    for (let i = 0; i < headerBytes; i++) bytes[at + i] = savedByFragments[i];
    pkt.l3 = at;
    pkt.l4 = from;
    pkt.headersEnd = from;
    pkt.end = to;
    const offset = (word & IPV4_OFFSET_MASK) + (from - body) / FRAGMENT_UNIT;
    const more = to < end ? IPV4_MORE_FRAGMENTS : word & IPV4_MORE_FRAGMENTS;
    writeIpv4Fragment(view, at, headerBytes, to, offset | more);
    taker.take(pkt, dp, hop);
  }
}
