/** Frames of a trace: built from the command line, turned into a reply, or forwarded as by a node's kernel. */
import { PROTOCOL_ICMP, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP } from '../../../native-free-dataplane/protocols.ts';
import { ADDRESS_WORDS } from '../../../native-free-dataplane/shared/address.ts';
import { addressWords, type Mac, macWords } from '../../../native-free-dataplane/wire/address.ts';
import {
  destinationMacHigh,
  destinationMacLow,
  ETHERNET_BYTES,
  ETHERTYPE_IPV4,
  ethernetType,
  sourceMacHigh,
  sourceMacLow,
  writeDestinationMac,
  writeEthernetType,
  writeSourceMac,
} from '../../../native-free-dataplane/wire/ethernet.ts';
import {
  answerEchoInPlace,
  emitIcmp,
  ICMP_BYTES,
  ICMP_ECHO_REQUEST,
  icmpType,
  writeIcmpChecksum,
} from '../../../native-free-dataplane/wire/icmp.ts';
import {
  emitIp,
  hopLimit,
  isLaterFragment,
  lowerHopLimit,
  readAddresses,
  resetHopLimit,
  swapAddresses,
  transportAt,
  transportProtocol,
} from '../../../native-free-dataplane/wire/ip.ts';
import { IPV4_MIN_BYTES, ipv4TotalLength } from '../../../native-free-dataplane/wire/ipv4.ts';
import { portsWord, writePorts } from '../../../native-free-dataplane/wire/ports.ts';
import {
  emitTcp,
  flagsInSequence,
  TCP_ACK,
  TCP_FIN,
  TCP_MIN_BYTES,
  TCP_RST,
  TCP_SYN,
  tcpAcknowledgment,
  tcpFlags,
  tcpHeaderBytes,
  tcpSequence,
} from '../../../native-free-dataplane/wire/tcp.ts';
import {
  checksumOffsetOf,
  finishPendingChecksum,
  writePendingChecksum,
} from '../../../native-free-dataplane/wire/transport-checksum.ts';
import { emitUdp, UDP_BYTES } from '../../../native-free-dataplane/wire/udp.ts';

/** Fields of a packet that have a default. */
export interface PacketFields {
  /** TCP flags; SYN by default. */
  readonly flags?: number | undefined;
  /** Source port, or identifier of an echo request. */
  readonly srcPort?: number | undefined;
  readonly ttl?: number | undefined;
  /** Bytes of payload, all zero; none by default. */
  readonly payloadBytes?: number | undefined;
}

export interface PacketArgs extends PacketFields {
  /** IP protocol: TCP, UDP or ICMP (an echo request). */
  readonly protocol: number;
  readonly src: string;
  readonly dst: string;
  readonly dstPort: number;
}

/** Sequence numbers of the connection: arbitrary, and easy to recognize. */
const CLIENT_SEQUENCE = 1000;
const SERVER_SEQUENCE = 2000;
const SOURCE_PORT = 40_000;
const TTL = 64;

const L3 = ETHERNET_BYTES;
const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const HEADER_BYTES: Readonly<Record<number, number>> = {
  [PROTOCOL_TCP]: TCP_MIN_BYTES,
  [PROTOCOL_UDP]: UDP_BYTES,
  [PROTOCOL_ICMP]: ICMP_BYTES,
};

/** Builds a frame with correct checksums. */
export function makeFrame(args: PacketArgs, from: Mac, to: Mac): Uint8Array {
  const { protocol, srcPort = SOURCE_PORT, dstPort, flags = TCP_SYN, ttl = TTL, payloadBytes = 0 } = args;
  const l4 = L3 + IPV4_MIN_BYTES;
  const frame = new Uint8Array(l4 + (HEADER_BYTES[protocol] ?? 0) + payloadBytes);
  const view = viewOf(frame);
  const end = frame.length;
  setMacs(frame, from, to);
  writeEthernetType(view, 0, ETHERTYPE_IPV4);
  emitIp(view, L3, end, protocol, addressWords(args.src), addressWords(args.dst));
  for (let hops = hopLimit(view, L3); hops > ttl; hops--) lowerHopLimit(view, L3);
  if (protocol === PROTOCOL_TCP) {
    const acknowledgment = (flags & TCP_ACK) === 0 ? 0 : SERVER_SEQUENCE;
    emitTcp(view, l4, (srcPort << 16) | dstPort, CLIENT_SEQUENCE, acknowledgment, flags);
  } else if (protocol === PROTOCOL_UDP) emitUdp(view, l4, srcPort, dstPort, end - l4);
  else if (protocol === PROTOCOL_ICMP) {
    emitIcmp(view, l4, ICMP_ECHO_REQUEST, 0, (srcPort << 16) | 1);
    writeIcmpChecksum(view, l4, end);
  }
  if (protocol !== PROTOCOL_ICMP) finishChecksum(view, l4, end, protocol);
  return frame;
}

function finishChecksum(view: DataView, l4: number, end: number, protocol: number): void {
  writePendingChecksum(view, L3, l4, end, protocol);
  finishPendingChecksum(view, l4, l4 + checksumOffsetOf(protocol), end);
}

function setMacs(frame: Uint8Array, from: Mac, to: Mac): void {
  const view = viewOf(frame);
  writeDestinationMac(view, 0, to.high, to.low);
  writeSourceMac(view, 0, from.high, from.low);
}

/**
 * The typical reply of a receiver: SYN-ACK to a SYN, ACK to a segment, a datagram of the same size to a datagram, an
 * echo reply to an echo request. Undefined if there is none: for resets, fragments and other packets.
 */
export function answerTo(frame: Uint8Array): Uint8Array | undefined {
  const asked = viewOf(frame);
  const protocol = transportProtocol(asked, L3);
  const l4 = transportAt(asked, L3);
  if (isLaterFragment(asked, L3)) return undefined;
  if (protocol === PROTOCOL_TCP) return answerTcp(frame, l4);
  const answer = frame.slice();
  const view = viewOf(answer);
  if (protocol === PROTOCOL_ICMP) {
    if (icmpType(view, l4) !== ICMP_ECHO_REQUEST) return undefined;
    answerEchoInPlace(view, l4);
  } else if (protocol === PROTOCOL_UDP || protocol === PROTOCOL_SCTP) writePorts(view, l4, turned(portsWord(view, l4)));
  else return undefined;
  return turnRound(answer);
}

function answerTcp(frame: Uint8Array, askedL4: number): Uint8Array | undefined {
  const asked = viewOf(frame);
  const flags = tcpFlags(asked, askedL4);
  if ((flags & TCP_RST) !== 0) return undefined;
  const syn = (flags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
  const payload = L3 + ipv4TotalLength(asked, L3) - askedL4 - tcpHeaderBytes(asked, askedL4);
  const occupied = Math.max(0, payload) + flagsInSequence(flags);
  // A pure ACK gets no reply, but data may follow in the other direction: one segment shows the path back.
  const l4 = L3 + IPV4_MIN_BYTES;
  const answer = new Uint8Array(l4 + TCP_MIN_BYTES);
  answer.set(frame.subarray(0, L3));
  const view = viewOf(answer);
  const sequence = (flags & TCP_ACK) !== 0 ? tcpAcknowledgment(asked, askedL4) : SERVER_SEQUENCE;
  const own = TCP_ACK | (syn ? TCP_SYN : flags & TCP_FIN);
  const src = new Int32Array(ADDRESS_WORDS);
  const dst = new Int32Array(ADDRESS_WORDS);
  readAddresses(asked, L3, src, dst);
  turnMacs(answer);
  emitIp(view, L3, answer.length, PROTOCOL_TCP, dst, src);
  emitTcp(view, l4, turned(portsWord(asked, askedL4)), sequence, (tcpSequence(asked, askedL4) + occupied) | 0, own);
  finishChecksum(view, l4, answer.length, PROTOCOL_TCP);
  return answer;
}

const turned = (ports: number): number => (ports << 16) | (ports >>> 16);

function turnMacs(frame: Uint8Array): void {
  const view = viewOf(frame);
  const from = { high: sourceMacHigh(view, 0), low: sourceMacLow(view, 0) };
  const to = { high: destinationMacHigh(view, 0), low: destinationMacLow(view, 0) };
  setMacs(frame, to, from);
}

/** The frame with source and destination swapped; that does not change its checksums. */
function turnRound(frame: Uint8Array): Uint8Array {
  const view = viewOf(frame);
  turnMacs(frame);
  swapAddresses(view, L3);
  resetHopLimit(view, L3);
  return frame;
}

/** A placeholder for the MAC of a router or machine on the underlay. */
const WIRE_MAC: Mac = macWords('02:00:00:00:00:09');

/** Replaces the MAC addresses for the next device; the packet is unchanged. */
export function readdress(frame: Uint8Array, to: Mac): Uint8Array {
  const copy = frame.slice();
  setMacs(copy, WIRE_MAC, to);
  return copy;
}

/** The source address of the frame's IPv4 packet; undefined if there is none. */
export function sourceOf(frame: Uint8Array): Int32Array | undefined {
  if (ethernetType(viewOf(frame), 0) !== ETHERTYPE_IPV4) return undefined;
  const src = new Int32Array(ADDRESS_WORDS);
  readAddresses(viewOf(frame), L3, src, new Int32Array(ADDRESS_WORDS));
  return src;
}

/** The frame after forwarding by a kernel; undefined if its TTL expires. */
export function forwardedByKernel(frame: Uint8Array): Uint8Array | undefined {
  const copy = frame.slice();
  const view = viewOf(copy);
  if (hopLimit(view, L3) <= 1) return undefined;
  lowerHopLimit(view, L3);
  return copy;
}
