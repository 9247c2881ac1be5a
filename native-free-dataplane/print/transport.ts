/** TCP, UDP and SCTP headers as text; truncated headers are accepted. Called only by print/frame.ts. */
import { SCTP_BYTES } from '../wire/sctp.ts';
import {
  OPTION_END,
  OPTION_HEADER_BYTES,
  OPTION_MSS,
  OPTION_MSS_BYTES,
  OPTION_NOP,
  OPTION_SACK,
  OPTION_SACK_PERMITTED,
  OPTION_TIMESTAMPS,
  OPTION_TIMESTAMPS_BYTES,
  OPTION_WINDOW_SCALE,
  OPTION_WINDOW_SCALE_BYTES,
  optionBytes,
  optionKind,
  optionMss,
  optionScale,
  optionWord,
  sackBlocks,
  TCP_ACK,
  TCP_CWR,
  TCP_ECE,
  TCP_FIN,
  TCP_MIN_BYTES,
  TCP_PSH,
  TCP_RST,
  TCP_SYN,
  TCP_URG,
  tcpAcknowledgment,
  tcpFlags,
  tcpHeaderBytes,
  tcpReserved,
  tcpSequence,
  tcpWindow,
} from '../wire/tcp.ts';
import { UDP_BYTES, udpLength } from '../wire/udp.ts';

/** Every ICMP error quotes at least this much of a TCP header. */
const PORTS_AND_SEQUENCE_BYTES = 8;

/** Letters of the flags, as in tcpdump where it has one, in printing order: SYN and ACK are `SA`. */
const FLAG_LETTERS = 'SFRPAUEC';
const FLAG_BITS: readonly number[] = [TCP_SYN, TCP_FIN, TCP_RST, TCP_PSH, TCP_ACK, TCP_URG, TCP_ECE, TCP_CWR];

/** The bit before the flags byte: accurate ECN. tcpdump's letter. */
const AE = 1;

/** `SA`, `PA`, `R`, …; `-` for none. @param reserved the four bits in front of the flags */
function printTcpFlags(flags: number, reserved: number): string {
  let text = '';
  for (let i = 0; i < FLAG_BITS.length; i++) if ((flags & FLAG_BITS[i]) !== 0) text += FLAG_LETTERS[i];
  if ((reserved & AE) !== 0) text += 'e';
  return text === '' ? '-' : text;
}

/**
 * The part of a TCP line after the addresses: ` S seq 1 win 64240 <mss 1410> len 5`, in brief ` S`.
 * @param l4 absolute offset of the TCP header, of which at least 4 bytes are present
 * @param end one past the packet's last byte
 */
export function printTcp(view: DataView, l4: number, end: number, brief: boolean): string {
  if (end - l4 < TCP_MIN_BYTES)
    return end - l4 < PORTS_AND_SEQUENCE_BYTES || brief ? '' : ` seq ${tcpSequence(view, l4) >>> 0}`;
  const flags = tcpFlags(view, l4);
  const reserved = tcpReserved(view, l4);
  let text = ` ${printTcpFlags(flags, reserved)}`;
  if (brief) return text;
  text += ` seq ${tcpSequence(view, l4) >>> 0}`;
  if ((flags & TCP_ACK) !== 0) text += ` ack ${tcpAcknowledgment(view, l4) >>> 0}`;
  text += ` win ${tcpWindow(view, l4)}`;
  if (reserved >> 1 !== 0) text += ` reserved ${reserved >> 1}`;
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
    const kind = optionKind(view, at);
    if (kind === OPTION_END) break;
    if (kind === OPTION_NOP) {
      at++;
      continue;
    }
    const bytes = end - at < OPTION_HEADER_BYTES ? 0 : optionBytes(view, at);
    if (bytes < OPTION_HEADER_BYTES || bytes > end - at) {
      parts.push(`!option ${kind}`);
      break;
    }
    parts.push(printOption(view, at, kind, bytes));
    at += bytes;
  }
  return parts.join(', ');
}

function printOption(view: DataView, at: number, kind: number, bytes: number): string {
  if (kind === OPTION_MSS && bytes === OPTION_MSS_BYTES) return `mss ${optionMss(view, at)}`;
  if (kind === OPTION_WINDOW_SCALE && bytes === OPTION_WINDOW_SCALE_BYTES) return `wscale ${optionScale(view, at)}`;
  if (kind === OPTION_SACK_PERMITTED && bytes === OPTION_HEADER_BYTES) return 'sackOK';
  if (kind === OPTION_TIMESTAMPS && bytes === OPTION_TIMESTAMPS_BYTES)
    return `ts ${optionWord(view, at, 0)} ${optionWord(view, at, 1)}`;
  const blocks = sackBlocks(bytes);
  if (kind === OPTION_SACK && blocks > 0) {
    let text = 'sack';
    for (let i = 0; i < blocks; i++) text += ` ${optionWord(view, at, 2 * i)}-${optionWord(view, at, 2 * i + 1)}`;
    return text;
  }
  return `option-${kind}`;
}

/**
 * The part of a UDP line after the addresses: ` len 5`; empty in brief or without payload. The length is that of the
 * UDP header; bytes of the IP packet beyond it are not part of the datagram (RFC 768) and are printed as `trailing`.
 * @param quoted the packet may end before the datagram does: in an ICMP error, or a first fragment
 */
export function printUdp(view: DataView, l4: number, end: number, brief: boolean, quoted: boolean): string {
  if (end - l4 < UDP_BYTES) return quoted ? '' : ' !cut';
  const bytes = udpLength(view, l4);
  if (brief) return '';
  if (bytes < UDP_BYTES) return ` !length ${bytes}`;
  const payload = bytes - UDP_BYTES;
  const beyond = end - l4 - bytes;
  let text = payload === 0 ? '' : ` len ${payload}`;
  if (beyond > 0) text += ` trailing ${beyond}`;
  else if (beyond < 0 && !quoted) text += ' !cut';
  return text;
}

/** The part of an SCTP line after the addresses: the bytes of its chunks. */
export function printSctp(room: number, brief: boolean, quoted: boolean): string {
  if (room < SCTP_BYTES) return quoted ? '' : ' !cut';
  return brief ? '' : ` len ${room - SCTP_BYTES}`;
}
