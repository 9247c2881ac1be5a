/**
 * Trains: packets of a UDP tunnel that follow each other, sent as one UDP super-packet. They are for kernels that accept
 * UDP super-packets (Linux 6.2), but not yet the super-packets of tunnels (6.17). The node's kernel, the devices between
 * the nodes and the other node's dp0 handle a train once, instead of each of its 40 packets. Where a device cannot, the
 * kernel cuts it into the ordinary tunnel packets that it consists of, so any node can be the receiver.
 *
 *   Ethernet · IPv4 · UDP │ tunnel header · inner packet │ tunnel header · inner packet │ …
 *
 * All parts have the same size (gso_size), except for a smaller last one. A train that arrives is taken apart, and TCP
 * segments that continue each other are merged again: pods' devices take them whole.
 *
 * Read before editing: linux net/ipv4/udp_offload.c (__udp_gso_segment, udp_gro_receive), include/linux/virtio_net.h
 * (VIRTIO_NET_HDR_GSO_UDP_L4), include/linux/udp.h (UDP_MAX_SEGMENTS).
 */
import { type Dataplane, SCRATCH_AT } from './dataplane.ts';
import { NodeWord } from './node/config.ts';
import { encapsulate, isTunnelPacket, overlayOf } from './overlay/overlay.ts';
import { GSO_NONE, GSO_TCPV4, GSO_UDP_L4, type Packet } from './packet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from './protocols.ts';
import { countOut } from './shared/counters.ts';
import { writeHostEthernet } from './stages/link-header.ts';
import { continues, isMergeable, mergedHeaderBytes } from './stages/merge.ts';
import { parseFrame } from './stages/parse.ts';
import { completeChecksum, cutSegments, type SegmentTaker } from './stages/segment.ts';
import { Verdict } from './verdicts.ts';
import { ETHERNET_BYTES } from './wire/ethernet.ts';
import { fragmentIdentification, writeSegmentHeader } from './wire/ip.ts';
import { IPV4_MAX_BYTES, IPV4_MIN_BYTES } from './wire/ipv4.ts';
import { destinationPort, sourcePort } from './wire/ports.ts';
import { TCP_CHECKSUM, TCP_PSH, tcpFlags, tcpSequence, writeTcpFlags } from './wire/tcp.ts';
import { checksumOffsetOf, writePendingChecksum } from './wire/transport-checksum.ts';
import { emitUdp, UDP_BYTES, UDP_CHECKSUM, writeUdpLength } from './wire/udp.ts';

/** Where a train is put together, with room for the virtio-net header in front. No answer is built meanwhile. */
const TRAIN_AT: number = SCRATCH_AT + 62;
/** UDP_MAX_SEGMENTS before Linux 6.9, which doubled it. */
const MAX_SENT_PARTS = 64;
const MAX_RECEIVED_PARTS = 128;
/** Ethernet, the longest IPv4 header, UDP. */
const MAX_OUTER_BYTES = 82;

/**
 * The most segments of one super-packet that fit one train: a larger super-packet would leave in a full train and a short
 * one, which costs almost as much.
 * @param mtu of the pods: the largest inner packet
 * @param overheadBytes of the overlay
 */
export function segmentsOfTrain(mtu: number, overheadBytes: number): number {
  const part = mtu + overheadBytes - IPV4_MIN_BYTES - UDP_BYTES;
  return Math.min(MAX_SENT_PARTS, Math.floor((IPV4_MAX_BYTES - IPV4_MIN_BYTES - UDP_BYTES) / part));
}

/** Send a super-packet to another node as trains. The overlay must be a UDP tunnel (PacketOverlay.sendsTrains). */
export function sendTrains(pkt: Packet, dp: Dataplane, hop: number): void {
  cutSegments(pkt, dp, hop, departing);
  departing.leave(pkt, dp);
}

/** The train that is being put together. */
class DepartingTrain implements SegmentTaker {
  private parts = 0;
  private partBytes = 0;
  private end = 0;

  /** Append a segment. One that does not fit begins the next train. */
  take(pkt: Packet, dp: Dataplane, hop: number): void {
    completeChecksum(pkt);
    writeHostEthernet(pkt, dp, encapsulate(pkt, dp, hop));
    const from = pkt.start;
    const to = pkt.end;
    const part = from + ETHERNET_BYTES + IPV4_MIN_BYTES + UDP_BYTES;
    const bytes = to - part;
    if (bytes > this.partBytes || this.isFull(bytes)) this.leave(pkt, dp);
    if (this.parts === 0) {
      this.partBytes = bytes;
      this.end = TRAIN_AT;
      this.append(pkt, from, to);
    } else this.append(pkt, part, to);
    // A smaller part is the last.
    if (bytes < this.partBytes) this.leave(pkt, dp);
  }

  /** Send what there is. The descriptor is then again as `cutSegments` expects it. */
  leave(pkt: Packet, dp: Dataplane): void {
    if (this.parts === 0) return;
    const { view } = pkt;
    const l3 = TRAIN_AT + ETHERNET_BYTES;
    const l4 = l3 + IPV4_MIN_BYTES;
    pkt.start = TRAIN_AT;
    pkt.end = this.end;
    pkt.l3 = l3;
    pkt.l4 = l4;
    pkt.headersEnd = l4 + UDP_BYTES;
    if (this.parts > 1) {
      writeSegmentHeader(view, l3, l4, this.end, fragmentIdentification(view, l3));
      writeUdpLength(view, l4, this.end - l4);
      writePendingChecksum(view, l3, l4, this.end, PROTOCOL_UDP);
      pkt.needsChecksum = 1;
      pkt.checksumStart = l4;
      pkt.checksumOffset = UDP_CHECKSUM;
      pkt.gsoType = GSO_UDP_L4;
      pkt.gsoSize = this.partBytes;
    }
    this.parts = 0;
    pkt.outPort = dp.node.config[NodeWord.TUNNEL_PORT];
    countOut(dp.counters, pkt.outPort, pkt.end - pkt.start);
    dp.emitter.emit(pkt);
    pkt.gsoType = GSO_NONE;
    pkt.checksumOffset = checksumOffsetOf(pkt.protocol);
  }

  private isFull(bytes: number): boolean {
    return this.parts === MAX_SENT_PARTS || this.end + bytes - TRAIN_AT - ETHERNET_BYTES > IPV4_MAX_BYTES;
  }

  private append(pkt: Packet, from: number, to: number): void {
    pkt.bytes.copyWithin(this.end, from, to);
    this.end += to - from;
    this.parts++;
  }
}

/**
 * Is the frame, a UDP super-packet from dp0, a train for this node? Then the descriptor becomes that of its first packet, and
 * `nextOfTrain` makes it that of each of the others.
 */
export function openTrain(pkt: Packet, dp: Dataplane): boolean {
  if (parseFrame(pkt) !== Verdict.GO_ON || pkt.protocol !== PROTOCOL_UDP || !isTunnelPacket(pkt, dp)) return false;
  // A tunnelled super-packet (outerL4) is one packet.
  if (pkt.outerL4 !== 0 || pkt.checksumStart !== pkt.l4) return false;
  const bytes = pkt.end - pkt.headersEnd;
  if (bytes <= 0 || bytes > MAX_RECEIVED_PARTS * pkt.gsoSize) return false;
  arriving.begin(pkt, overlayOf(dp).overheadBytes - IPV4_MIN_BYTES - UDP_BYTES);
  return arriving.next(pkt);
}

/** Make the descriptor that of the next packet of the train, as if it had been received alone. False after the last. */
export const nextOfTrain = (pkt: Packet): boolean => arriving.next(pkt);

/** The train that is being taken apart. */
class ArrivingTrain {
  /** Its outer headers: each packet gets a copy. */
  private readonly outer = new Uint8Array(MAX_OUTER_BYTES);
  private outerBytes = 0;
  private identification = 0;
  /** Bytes of each part, and of the tunnel's headers in front of its inner packet. */
  private partBytes = 0;
  private tunnelBytes = 0;
  /** What remains: [at, end). */
  private at = 0;
  private end = 0;

  begin(pkt: Packet, tunnelBytes: number): void {
    this.outerBytes = pkt.headersEnd - pkt.start;
    for (let i = 0; i < this.outerBytes; i++) this.outer[i] = pkt.bytes[pkt.start + i];
    this.identification = fragmentIdentification(pkt.view, pkt.l3);
    this.partBytes = pkt.gsoSize;
    this.tunnelBytes = tunnelBytes;
    this.at = pkt.headersEnd;
    this.end = pkt.end;
  }

  next(pkt: Packet): boolean {
    const part = this.at;
    if (part >= this.end) return false;
    const inner = part + this.tunnelBytes;
    const first = this.endOfPart(part);
    const end = isMergeable(pkt.view, inner, first) ? this.merge(pkt, part, first) : first;
    if (this.at === part) this.at = first;
    this.describe(pkt, part, end);
    if (end !== first) describeSuperPacket(pkt, part - UDP_BYTES, inner, first);
    return true;
  }

  private endOfPart(part: number): number {
    return Math.min(part + this.partBytes, this.end);
  }

  /**
   * Move the payload of the segments that continue the one at `part` to its end, and `at` past them.
   * @param first where that segment ends
   * @returns where its payload now ends
   */
  private merge(pkt: Packet, part: number, first: number): number {
    const { view, bytes } = pkt;
    const inner = part + this.tunnelBytes;
    const headers = this.tunnelBytes + mergedHeaderBytes(view, inner);
    const size = first - part - headers;
    const tcp = inner + IPV4_MIN_BYTES;
    let sequence = tcpSequence(view, tcp) + size;
    let flags = tcpFlags(view, tcp);
    let end = first;
    let added = size;
    let next = first;
    while (next < this.end && added === size && (flags & TCP_PSH) === 0) {
      const nextEnd = this.endOfPart(next);
      const nextInner = next + this.tunnelBytes;
      if (!isMergeable(view, nextInner, nextEnd) || !continues(view, inner, nextInner, sequence)) break;
      if (!areSame(bytes, part, next, this.tunnelBytes)) break;
      added = nextEnd - next - headers;
      if (added > size || end + added - inner > IPV4_MAX_BYTES) break;
      flags |= tcpFlags(view, nextInner + IPV4_MIN_BYTES);
      bytes.copyWithin(end, next + headers, nextEnd);
      end += added;
      sequence += added;
      next = nextEnd;
      this.at = next;
    }
    writeTcpFlags(view, tcp, flags);
    return end;
  }

  /** Put the outer headers in front of a part, over the end of the one before, and describe the frame. */
  private describe(pkt: Packet, part: number, end: number): void {
    const { view, bytes } = pkt;
    const start = part - this.outerBytes;
    for (let i = 0; i < this.outerBytes; i++) bytes[start + i] = this.outer[i];
    const l4 = part - UDP_BYTES;
    writeSegmentHeader(view, start + ETHERNET_BYTES, l4, end, this.identification);
    this.identification = (this.identification + 1) & 0xffff;
    emitUdp(view, l4, sourcePort(view, l4), destinationPort(view, l4), end - l4);
    pkt.reset(start, end, 0);
  }
}

/**
 * Describe the merged segments at `inner` as a tunnelled super-packet.
 * @param outerL4 the outer UDP header
 * @param first where the first segment ended
 */
function describeSuperPacket(pkt: Packet, outerL4: number, inner: number, first: number): void {
  const { view, end } = pkt;
  const tcp = inner + IPV4_MIN_BYTES;
  writeSegmentHeader(view, inner, tcp, end, fragmentIdentification(view, inner));
  writePendingChecksum(view, inner, tcp, end, PROTOCOL_TCP);
  pkt.needsChecksum = 1;
  pkt.checksumStart = tcp;
  pkt.checksumOffset = TCP_CHECKSUM;
  pkt.gsoType = GSO_TCPV4;
  pkt.headersEnd = inner + mergedHeaderBytes(view, inner);
  pkt.gsoSize = first - pkt.headersEnd;
  pkt.outerL4 = outerL4;
  pkt.innerL3 = inner;
}

function areSame(bytes: Uint8Array, a: number, b: number, count: number): boolean {
  for (let i = 0; i < count; i++) if (bytes[a + i] !== bytes[b + i]) return false;
  return true;
}

const departing = new DepartingTrain();
const arriving = new ArrivingTrain();
