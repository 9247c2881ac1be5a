/**
 * The TCP header, and the options that connection tracking and MSS clamping read. The caller has checked that 20 bytes
 * (or headerBytes) lie inside the packet. Ports: ports.ts.
 *
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +-------------------------------+-------------------------------+
 *  |          source port          |       destination port        |  0
 *  |                        sequence number                        |  4
 *  |                     acknowledgment number                     |  8
 *  +-------+-------+---------------+-------------------------------+
 *  |offset | resvd |C E U A P R S F|            window             | 12
 *  +-------+-------+---------------+-------------------------------+
 *  |           checksum            |        urgent pointer         | 16
 *  +-------------------------------+-------------------------------+
 *  |                            options                            | 20
 *  +---------------------------------------------------------------+
 *
 * See RFC 9293 §3.1 and §3.2, RFC 7323 §2 (window scale), RFC 2018 §2 and §3 (SACK).
 */
import { applyDifference, applyPartialDifference, difference32, updateChecksum16 } from './checksum.ts';
import { destinationPort, portsWord, sourcePort, writePorts } from './ports.ts';

export const TCP_MIN_BYTES = 20;
const TCP_MAX_HEADER_BYTES = 60;
/** Offset of the checksum in the header (csum_offset of the virtio-net header). */
export const TCP_CHECKSUM = 16;

const SEQUENCE = 4;
const ACKNOWLEDGMENT = 8;
const OFFSET_AND_FLAGS = 12;
const FLAGS = 13;
const WINDOW = 14;
/** Offset-and-flags word of a header without options and flags: five words of four bytes. */
const MIN_OFFSET = 0x5000;

export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_PSH = 0x08;
export const TCP_ACK = 0x10;
export const TCP_URG = 0x20;
export const TCP_ECE = 0x40;
export const TCP_CWR = 0x80;

export const OPTION_END = 0;
export const OPTION_NOP = 1;
export const OPTION_MSS = 2;
export const OPTION_WINDOW_SCALE = 3;
export const OPTION_SACK_PERMITTED = 4;
export const OPTION_SACK = 5;
export const OPTION_TIMESTAMPS = 8;

/** Lengths of options, kind and length included. */
export const OPTION_HEADER_BYTES = 2;
export const OPTION_MSS_BYTES = 4;
export const OPTION_WINDOW_SCALE_BYTES = 3;
export const OPTION_TIMESTAMPS_BYTES = 10;
/** Left and right edge of a SACK block. */
const SACK_BLOCK_BYTES = 8;

/** NOP, NOP, kind and length of the timestamps option: the first four bytes of the options in a Linux segment. */
const ALIGNED_TIMESTAMPS = 0x0101080a;
const ALIGNED_TIMESTAMPS_BYTES = 12;

/** Largest shift count; a larger one is treated as this one (RFC 7323 §2.3). */
const MAX_WINDOW_SCALE = 14;

/** Sequence number, int32: compare by the sign of a difference. */
export function tcpSequence(view: DataView, l4: number): number {
  return view.getInt32(l4 + SEQUENCE);
}

/** Write the sequence number. @param sequence int32 or uint32 */
export function writeTcpSequence(view: DataView, l4: number, sequence: number): void {
  view.setInt32(l4 + SEQUENCE, sequence);
}

/** Acknowledgment number, int32. */
export function tcpAcknowledgment(view: DataView, l4: number): number {
  return view.getInt32(l4 + ACKNOWLEDGMENT);
}

/** The four bits between header length and flags: three reserved ones, and AE (RFC 9768 §3.1; once NS, RFC 3540). */
export function tcpReserved(view: DataView, l4: number): number {
  return view.getUint8(l4 + OFFSET_AND_FLAGS) & 0xf;
}

/** Header length field in bytes, 0..60; below 20 it is invalid. */
export function tcpHeaderBytes(view: DataView, l4: number): number {
  return (view.getUint8(l4 + OFFSET_AND_FLAGS) >> 4) << 2;
}

/** The flags byte: TCP_FIN to TCP_CWR. */
export function tcpFlags(view: DataView, l4: number): number {
  return view.getUint8(l4 + FLAGS);
}

/** Write the flags byte; the checksum is left as it is. */
export function writeTcpFlags(view: DataView, l4: number, flags: number): void {
  view.setUint8(l4 + FLAGS, flags);
}

/** Are two headers the same, options included, but for sequence number, PSH, checksum and urgent pointer? */
export function isSameTcpHeader(view: DataView, a: number, b: number): boolean {
  const different = view.getInt32(a + OFFSET_AND_FLAGS) ^ view.getInt32(b + OFFSET_AND_FLAGS);
  if ((different & ~(TCP_PSH << 16)) !== 0) return false;
  if (portsWord(view, a) !== portsWord(view, b) || tcpAcknowledgment(view, a) !== tcpAcknowledgment(view, b))
    return false;
  const headerBytes = tcpHeaderBytes(view, a);
  for (let at = TCP_MIN_BYTES; at < headerBytes; at += 4) {
    if (view.getInt32(a + at) !== view.getInt32(b + at)) return false;
  }
  return true;
}

/** The checksum field. */
export function tcpChecksum(view: DataView, l4: number): number {
  return view.getUint16(l4 + TCP_CHECKSUM);
}

/** The window field, not scaled. */
export function tcpWindow(view: DataView, l4: number): number {
  return view.getUint16(l4 + WINDOW);
}

/**
 * Write new ports and update the checksum for them and for the packet's new addresses.
 * @param ports source << 16 | destination
 * @param addresses difference of the pseudo-header's sum, as ip.ts rewriteAddresses returned it
 * @param pending not 0 if the field holds only the pseudo-header's sum (NEEDS_CSUM)
 */
export function rewriteTcpPorts(view: DataView, l4: number, ports: number, addresses: number, pending: number): void {
  const before = portsWord(view, l4);
  const field = view.getUint16(l4 + TCP_CHECKSUM);
  writePorts(view, l4, ports);
  view.setUint16(
    l4 + TCP_CHECKSUM,
    pending !== 0
      ? applyPartialDifference(field, addresses)
      : applyDifference(field, addresses + difference32(before, ports)),
  );
}

/** Sequence numbers that a segment's flags occupy: SYN and FIN take one each (RFC 9293 §3.4). */
export function flagsInSequence(flags: number): number {
  return ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0);
}

/** Kind of the option at `at`. */
export function optionKind(view: DataView, at: number): number {
  return view.getUint8(at);
}

/** Length field of the option at `at`; OPTION_END and OPTION_NOP have none. */
export function optionBytes(view: DataView, at: number): number {
  return view.getUint8(at + 1);
}

/** Value of the MSS option at `at`. */
export function optionMss(view: DataView, at: number): number {
  return view.getUint16(at + OPTION_HEADER_BYTES);
}

/** Shift count of the window scale option at `at`. */
export function optionScale(view: DataView, at: number): number {
  return view.getUint8(at + OPTION_HEADER_BYTES);
}

/** Word `index` of a timestamps or SACK option at `at`, uint32. */
export function optionWord(view: DataView, at: number, index: number): number {
  return view.getUint32(at + OPTION_HEADER_BYTES + (index << 2));
}

/** Number of blocks in a SACK option of this length; 0 if the length is invalid for a SACK option. */
export function sackBlocks(bytes: number): number {
  const blocks = (bytes - OPTION_HEADER_BYTES) / SACK_BLOCK_BYTES;
  return Number.isInteger(blocks) ? blocks : 0;
}

/** Result of the last readTcpOptions. One object, reused: read it before the next call. */
export const tcpOptions: {
  /** Shift count 0..14, or -1 without the option. */
  windowScale: number;
  /** 1 with the option, else 0. */
  sackPermitted: number;
  /** 1 if there is a SACK block; sackEdge is then the highest right edge, int32. */
  hasSack: number;
  sackEdge: number;
  /** Absolute offset of the 16-bit MSS value, 0 without the option. It may be odd. */
  mssOffset: number;
} = { windowScale: -1, sackPermitted: 0, hasSack: 0, sackEdge: 0, mssOffset: 0 };

/**
 * Read the options into `tcpOptions`. Accepts any bytes: a truncated option, or one with a wrong length, ends the
 * search, and the options before it count (linux tcp_parse_options does the same).
 * @param l4 absolute offset of the TCP header
 * @param headerEnd one past the header's last byte; bytes beyond the 60th of the header are ignored
 */
export function readTcpOptions(view: DataView, l4: number, headerEnd: number): void {
  tcpOptions.windowScale = -1;
  tcpOptions.sackPermitted = 0;
  tcpOptions.hasSack = 0;
  tcpOptions.sackEdge = 0;
  tcpOptions.mssOffset = 0;
  let at = l4 + TCP_MIN_BYTES;
  const end = headerEnd - l4 > TCP_MAX_HEADER_BYTES ? l4 + TCP_MAX_HEADER_BYTES : headerEnd;
  // The usual case: two NOPs and timestamps, nothing else.
  if (end - at === ALIGNED_TIMESTAMPS_BYTES && view.getInt32(at) === ALIGNED_TIMESTAMPS) return;
  while (at < end) {
    const kind = optionKind(view, at);
    if (kind === OPTION_END) return;
    if (kind === OPTION_NOP) {
      at++;
      continue;
    }
    if (end - at < OPTION_HEADER_BYTES) return;
    const bytes = optionBytes(view, at);
    if (bytes < OPTION_HEADER_BYTES || bytes > end - at) return;
    if (kind === OPTION_SACK) readSack(view, at, bytes);
    else if (kind === OPTION_MSS && bytes === OPTION_MSS_BYTES) tcpOptions.mssOffset = at + OPTION_HEADER_BYTES;
    else if (kind === OPTION_SACK_PERMITTED && bytes === OPTION_HEADER_BYTES) tcpOptions.sackPermitted = 1;
    else if (kind === OPTION_WINDOW_SCALE && bytes === OPTION_WINDOW_SCALE_BYTES) {
      const scale = optionScale(view, at);
      tcpOptions.windowScale = Math.min(scale, MAX_WINDOW_SCALE);
    }
    at += bytes;
  }
}

/** Find the highest right edge among the blocks of a SACK option; one to four fit (RFC 2018 §3). */
function readSack(view: DataView, at: number, bytes: number): void {
  if (bytes < 10 || ((bytes - 2) & 7) !== 0) return;
  for (let block = at + 2, end = at + bytes; block < end; block += 8) {
    const edge = view.getInt32(block + 4);
    if (tcpOptions.hasSack === 0 || ((edge - tcpOptions.sackEdge) | 0) > 0) tcpOptions.sackEdge = edge;
    tcpOptions.hasSack = 1;
  }
}

/** The header fields that connection tracking needs; filled by readTcpSegment. */
export interface TcpSegmentFields {
  flags: number;
  /** int32. */
  sequence: number;
  acknowledgment: number;
  /** As in the header, not scaled. */
  window: number;
  /** As in tcpOptions. */
  windowScale: number;
  sackPermitted: number;
  hasSack: number;
  sackEdge: number;
}

/** Read header and options. @param l4,headerEnd as for readTcpOptions */
export function readTcpSegment(view: DataView, l4: number, headerEnd: number, into: TcpSegmentFields): void {
  readTcpOptions(view, l4, headerEnd);
  into.flags = tcpFlags(view, l4);
  into.sequence = tcpSequence(view, l4);
  into.acknowledgment = tcpAcknowledgment(view, l4);
  into.window = tcpWindow(view, l4);
  into.windowScale = tcpOptions.windowScale;
  into.sackPermitted = tcpOptions.sackPermitted;
  into.hasSack = tcpOptions.hasSack;
  into.sackEdge = tcpOptions.sackEdge;
}

/**
 * Lower the MSS option to `limit` if it is larger, and update the checksum.
 * @param headerEnd one past the header's last byte
 * @param pending not 0 if the checksum is still to be computed over the header (NEEDS_CSUM)
 */
export function lowerMss(view: DataView, l4: number, headerEnd: number, limit: number, pending: number): void {
  readTcpOptions(view, l4, headerEnd);
  const at = tcpOptions.mssOffset;
  if (at === 0) return;
  const mss = view.getUint16(at);
  if (mss <= limit) return;
  view.setUint16(at, limit);
  if (pending !== 0) return;
  const field = view.getUint16(l4 + TCP_CHECKSUM);
  // At an odd offset the value straddles two words of the sum, which swaps its bytes (RFC 1071 §2(B)).
  const even = ((at - l4) & 1) === 0;
  const sum = even ? updateChecksum16(field, mss, limit) : updateChecksum16(field, swapBytes(mss), swapBytes(limit));
  view.setUint16(l4 + TCP_CHECKSUM, sum);
}

function swapBytes(word: number): number {
  return ((word & 0xff) << 8) | (word >> 8);
}

/**
 * Write at `l4` the 20-byte header of a reset in response to the segment at `segment` (RFC 9293 §3.10.7.1). If that
 * segment had an ACK, the reset takes its sequence number from it; else the reset acknowledges the segment. The
 * checksum is 0.
 * @param payloadBytes payload of the segment that is answered
 */
export function emitTcpReset(view: DataView, l4: number, segment: number, payloadBytes: number): void {
  const flags = tcpFlags(view, segment);
  view.setUint16(l4, destinationPort(view, segment));
  view.setUint16(l4 + 2, sourcePort(view, segment));
  if ((flags & TCP_ACK) !== 0) {
    view.setInt32(l4 + SEQUENCE, tcpAcknowledgment(view, segment));
    view.setInt32(l4 + ACKNOWLEDGMENT, 0);
    view.setUint16(l4 + OFFSET_AND_FLAGS, MIN_OFFSET | TCP_RST);
  } else {
    const occupied = payloadBytes + flagsInSequence(flags);
    view.setInt32(l4 + SEQUENCE, 0);
    view.setInt32(l4 + ACKNOWLEDGMENT, tcpSequence(view, segment) + occupied);
    view.setUint16(l4 + OFFSET_AND_FLAGS, MIN_OFFSET | TCP_RST | TCP_ACK);
  }
  view.setUint16(l4 + WINDOW, 0);
  view.setInt32(l4 + TCP_CHECKSUM, 0);
}

/**
 * Write a header without options, with checksum 0.
 * @param ports source << 16 | destination
 */
export function emitTcp(
  view: DataView,
  l4: number,
  ports: number,
  sequence: number,
  acknowledgment: number,
  flags: number,
): void {
  writePorts(view, l4, ports);
  view.setInt32(l4 + SEQUENCE, sequence);
  view.setInt32(l4 + ACKNOWLEDGMENT, acknowledgment);
  view.setUint16(l4 + OFFSET_AND_FLAGS, MIN_OFFSET | flags);
  view.setUint16(l4 + WINDOW, 0xffff);
  view.setInt32(l4 + TCP_CHECKSUM, 0);
}
