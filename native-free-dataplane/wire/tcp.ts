/**
 * The TCP header and the options a tracker and an MSS clamp care for. The caller has made sure that 20 bytes (or
 * headerBytes) lie inside the packet.
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
export const TCP_MIN_BYTES = 20;
export const TCP_MAX_HEADER_BYTES = 60;

export const TCP_SOURCE_PORT = 0;
export const TCP_DESTINATION_PORT = 2;
export const TCP_SEQUENCE = 4;
export const TCP_ACKNOWLEDGMENT = 8;
export const TCP_OFFSET = 12;
export const TCP_FLAGS = 13;
export const TCP_WINDOW = 14;
export const TCP_CHECKSUM = 16;
export const TCP_URGENT = 18;

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

/** The largest shift that may be used; a larger one counts as this (RFC 7323 §2.3). */
export const MAX_WINDOW_SCALE = 14;

export function tcpSourcePort(view: DataView, l4: number): number {
  return view.getUint16(l4);
}

export function tcpDestinationPort(view: DataView, l4: number): number {
  return view.getUint16(l4 + TCP_DESTINATION_PORT);
}

/** Sequence number, int32: compare by the sign of a difference. */
export function tcpSequence(view: DataView, l4: number): number {
  return view.getInt32(l4 + TCP_SEQUENCE);
}

/** Acknowledgment number, int32. */
export function tcpAcknowledgment(view: DataView, l4: number): number {
  return view.getInt32(l4 + TCP_ACKNOWLEDGMENT);
}

/** Header length in bytes as stated, 0..60; below 20 it is invalid. */
export function tcpHeaderBytes(view: DataView, l4: number): number {
  return (view.getUint8(l4 + TCP_OFFSET) >> 4) << 2;
}

export function tcpFlags(view: DataView, l4: number): number {
  return view.getUint8(l4 + TCP_FLAGS);
}

/** Window as it stands, not scaled. */
export function tcpWindow(view: DataView, l4: number): number {
  return view.getUint16(l4 + TCP_WINDOW);
}

/** What the last readTcpOptions found. One object, reused: read it before the next call. */
export const tcpOptions: {
  /** Shift count 0..14, or -1 without the option. */
  windowScale: number;
  /** 1 with the option, else 0. */
  sackPermitted: number;
  /** 1 when there was a SACK block; sackEdge is then the highest right edge, int32. */
  hasSack: number;
  sackEdge: number;
  /** Absolute offset of the 16-bit MSS value, 0 without the option. It may be odd. */
  mssOffset: number;
} = { windowScale: -1, sackPermitted: 0, hasSack: 0, sackEdge: 0, mssOffset: 0 };

/**
 * Read the options into `tcpOptions`. Any bytes will do: an option that is cut short or of a wrong length ends the
 * walk, and what stood before it counts (linux: tcp_parse_options does the same).
 * @param l4 absolute offset of the TCP header
 * @param headerEnd one past the header's last byte; more than 60 bytes are not looked at
 */
export function readTcpOptions(view: DataView, l4: number, headerEnd: number): void {
  tcpOptions.windowScale = -1;
  tcpOptions.sackPermitted = 0;
  tcpOptions.hasSack = 0;
  tcpOptions.sackEdge = 0;
  tcpOptions.mssOffset = 0;
  let at = l4 + TCP_MIN_BYTES;
  const end = headerEnd - l4 > TCP_MAX_HEADER_BYTES ? l4 + TCP_MAX_HEADER_BYTES : headerEnd;
  // Almost every segment of a connection: two NOPs and timestamps, nothing else.
  if (end - at === 12 && view.getInt32(at) === 0x0101080a) return;
  while (at < end) {
    const kind = view.getUint8(at);
    if (kind === OPTION_END) return;
    if (kind === OPTION_NOP) {
      at++;
      continue;
    }
    if (end - at < 2) return;
    const bytes = view.getUint8(at + 1);
    if (bytes < 2 || bytes > end - at) return;
    if (kind === OPTION_SACK) readSack(view, at, bytes);
    else if (kind === OPTION_MSS && bytes === 4) tcpOptions.mssOffset = at + 2;
    else if (kind === OPTION_SACK_PERMITTED && bytes === 2) tcpOptions.sackPermitted = 1;
    else if (kind === OPTION_WINDOW_SCALE && bytes === 3) {
      const scale = view.getUint8(at + 2);
      tcpOptions.windowScale = Math.min(scale, MAX_WINDOW_SCALE);
    }
    at += bytes;
  }
}

/** The highest right edge among the blocks; one to four of them fit (RFC 2018 §3). */
function readSack(view: DataView, at: number, bytes: number): void {
  if (bytes < 10 || ((bytes - 2) & 7) !== 0) return;
  for (let block = at + 2, end = at + bytes; block < end; block += 8) {
    const edge = view.getInt32(block + 4);
    if (tcpOptions.hasSack === 0 || ((edge - tcpOptions.sackEdge) | 0) > 0) tcpOptions.sackEdge = edge;
    tcpOptions.hasSack = 1;
  }
}

/**
 * Write a 20-byte header; checksum and urgent pointer 0. The checksum is the caller's, who knows the payload.
 * @param sequence,acknowledgment int32 or uint32
 */
export function emitTcp(
  view: DataView,
  l4: number,
  srcPort: number,
  dstPort: number,
  sequence: number,
  acknowledgment: number,
  flags: number,
  window: number,
): void {
  view.setUint16(l4, srcPort);
  view.setUint16(l4 + TCP_DESTINATION_PORT, dstPort);
  view.setInt32(l4 + TCP_SEQUENCE, sequence);
  view.setInt32(l4 + TCP_ACKNOWLEDGMENT, acknowledgment);
  view.setUint16(l4 + TCP_OFFSET, 0x5000 | flags);
  view.setUint16(l4 + TCP_WINDOW, window);
  view.setUint32(l4 + TCP_CHECKSUM, 0);
}

/**
 * Write the header of the reset that answers a segment (RFC 9293 §3.10.7.1): in its place in the sequence when the
 * segment acknowledged something, else acknowledging all the segment occupied.
 * @param flags,sequence,acknowledgment of the segment that is answered
 * @param payloadBytes of that segment
 */
export function emitTcpReset(
  view: DataView,
  l4: number,
  srcPort: number,
  dstPort: number,
  flags: number,
  sequence: number,
  acknowledgment: number,
  payloadBytes: number,
): void {
  if ((flags & TCP_ACK) !== 0) emitTcp(view, l4, srcPort, dstPort, acknowledgment, 0, TCP_RST, 0);
  else {
    const occupied = payloadBytes + ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0);
    emitTcp(view, l4, srcPort, dstPort, 0, (sequence + occupied) | 0, TCP_RST | TCP_ACK, 0);
  }
}
