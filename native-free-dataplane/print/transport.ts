/** TCP, UDP and SCTP headers as text; each survives a header that is cut short. Called by print/frame.ts only. */
import {
  OPTION_END,
  OPTION_MSS,
  OPTION_NOP,
  OPTION_SACK,
  OPTION_SACK_PERMITTED,
  OPTION_TIMESTAMPS,
  OPTION_WINDOW_SCALE,
  TCP_ACK,
  TCP_MIN_BYTES,
  tcpAcknowledgment,
  tcpFlags,
  tcpHeaderBytes,
  tcpSequence,
  tcpWindow,
} from '../wire/tcp.ts';
import { UDP_BYTES, udpLength } from '../wire/udp.ts';

/** Ports, verification tag, checksum (RFC 9260 §3.1). */
const SCTP_BYTES = 12;

/** Letters of the flags, as tcpdump's where it has one, in the order they are written: SYN and ACK are `SA`. */
const FLAG_LETTERS = 'SFRPAUEC';
const FLAG_BITS: readonly number[] = [0x02, 0x01, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80];

/** `SA`, `PA`, `R`, …; `-` for none. */
export function printTcpFlags(flags: number): string {
  let text = '';
  for (let i = 0; i < FLAG_BITS.length; i++) if ((flags & FLAG_BITS[i]) !== 0) text += FLAG_LETTERS[i];
  return text === '' ? '-' : text;
}

/**
 * What follows the endpoints of a TCP segment: ` S seq 1 win 64240 <mss 1410> len 5`, in brief ` S`.
 * @param l4 absolute offset of the TCP header, of which at least 4 bytes are there
 * @param end one past the packet's last byte
 */
export function printTcp(view: DataView, l4: number, end: number, brief: boolean): string {
  if (end - l4 < TCP_MIN_BYTES) return end - l4 < 8 || brief ? '' : ` seq ${tcpSequence(view, l4) >>> 0}`;
  const flags = tcpFlags(view, l4);
  let text = ` ${printTcpFlags(flags)}`;
  if (brief) return text;
  text += ` seq ${tcpSequence(view, l4) >>> 0}`;
  if ((flags & TCP_ACK) !== 0) text += ` ack ${tcpAcknowledgment(view, l4) >>> 0}`;
  text += ` win ${tcpWindow(view, l4)}`;
  const headerBytes = tcpHeaderBytes(view, l4);
  if (headerBytes < TCP_MIN_BYTES) return `${text} !header-length ${headerBytes}`;
  const options = printOptions(view, l4 + TCP_MIN_BYTES, Math.min(l4 + headerBytes, end));
  if (options !== '') text += ` <${options}>`;
  if (headerBytes > end - l4) return `${text} !cut`;
  return headerBytes === end - l4 ? text : `${text} len ${end - l4 - headerBytes}`;
}

function printOptions(view: DataView, from: number, end: number): string {
  const parts: string[] = [];
  for (let at = from; at < end; ) {
    const kind = view.getUint8(at);
    if (kind === OPTION_END) break;
    if (kind === OPTION_NOP) {
      at++;
      continue;
    }
    const bytes = end - at < 2 ? 0 : view.getUint8(at + 1);
    if (bytes < 2 || bytes > end - at) {
      parts.push(`!option ${kind}`);
      break;
    }
    parts.push(printOption(view, at, kind, bytes));
    at += bytes;
  }
  return parts.join(', ');
}

function printOption(view: DataView, at: number, kind: number, bytes: number): string {
  if (kind === OPTION_MSS && bytes === 4) return `mss ${view.getUint16(at + 2)}`;
  if (kind === OPTION_WINDOW_SCALE && bytes === 3) return `wscale ${view.getUint8(at + 2)}`;
  if (kind === OPTION_SACK_PERMITTED && bytes === 2) return 'sackOK';
  if (kind === OPTION_TIMESTAMPS && bytes === 10) return `ts ${view.getUint32(at + 2)} ${view.getUint32(at + 6)}`;
  if (kind === OPTION_SACK && bytes >= 10 && (bytes - 2) % 8 === 0) {
    let text = 'sack';
    for (let block = at + 2; block < at + bytes; block += 8) {
      text += ` ${view.getUint32(block)}-${view.getUint32(block + 4)}`;
    }
    return text;
  }
  return `option-${kind}`;
}

/** What follows the endpoints of a UDP datagram: ` len 5`, nothing in brief or without payload. */
export function printUdp(view: DataView, l4: number, end: number, brief: boolean, quoted: boolean): string {
  if (end - l4 < UDP_BYTES) return quoted ? '' : ' !cut';
  const bytes = udpLength(view, l4);
  if (brief) return '';
  if (bytes < UDP_BYTES) return ` !length ${bytes}`;
  const payload = quoted ? bytes - UDP_BYTES : end - l4 - UDP_BYTES;
  return payload === 0 ? '' : ` len ${payload}`;
}

/** What follows the endpoints of an SCTP packet: the bytes of its chunks. */
export function printSctp(room: number, brief: boolean, quoted: boolean): string {
  if (room < SCTP_BYTES) return quoted ? '' : ' !cut';
  return brief ? '' : ` len ${room - SCTP_BYTES}`;
}
