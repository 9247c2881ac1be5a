/**
 * Replies to a packet that goes no further: TCP resets and ICMP errors. Which verdict gets which is in verdicts.ts.
 *
 * The reply is built in the arena's scratch part and the descriptor is made to describe it; the pipeline sends it back
 * the way the packet came. ICMP errors, resets and later fragments get no reply, and the rate is limited (RFC 1812
 * §4.3.2.7 and §4.3.2.8), so that replies can never multiply.
 *
 * Read before editing: RFC 792, RFC 1812 §4.3.2, RFC 9293 §3.10.7.1 (resets), RFC 1191 §4 (next-hop MTU).
 */

import { type Dataplane, SCRATCH_AT } from '../dataplane.ts';
import { NodeWord } from '../node/config.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP } from '../protocols.ts';
import { finishChecksum, sumBytes } from '../wire/checksum.ts';
import { ipv4HeaderChecksum } from '../wire/ipv4.ts';
import { pseudoHeaderSum } from '../wire/transport-checksum.ts';

/** Replies per second and worker, and how many may be sent at once (linux icmp_msgs_per_sec is 1000 as well). */
const ERRORS_PER_SECOND = 1000;
const ERROR_BURST = 200;
/** An ICMP error is at most 576 bytes long: so many bytes of the packet are quoted (RFC 1812 §4.3.2.3). */
const QUOTE_BYTES: number = 576 - 28;

const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;

/** Ethernet headers of replies start here: the IP header is then 4-aligned, with headroom for an overlay in front. */
const ANSWER_AT: number = SCRATCH_AT + 130;
const ANSWER_L3: number = ANSWER_AT + 14;
const ANSWER_L4: number = ANSWER_L3 + 20;

/** Is a reply to this packet permitted? Takes one from the rate limit when it is. */
function mayAnswer(pkt: Packet, dp: Dataplane): boolean {
  if (pkt.fragmentOffset !== 0) return false;
  if (pkt.protocol === PROTOCOL_ICMP && !isQuery(pkt.icmpType)) return false;
  if (pkt.protocol === PROTOCOL_TCP && (pkt.tcpFlags & RST) !== 0) return false;
  const elapsed = dp.nowMs - dp.errorFilledMs;
  dp.errorFilledMs = dp.nowMs;
  dp.errorTokens += (elapsed * ERRORS_PER_SECOND) / 1000;
  if (dp.errorTokens > ERROR_BURST) dp.errorTokens = ERROR_BURST;
  if (dp.errorTokens < 1) return false;
  dp.errorTokens -= 1;
  return true;
}

function isQuery(type: number): boolean {
  return type === 0 || type === 8 || type === 13 || type === 14 || type === 17 || type === 18;
}

/** The router's address on the side the packet came from: the gateway's toward pods and other nodes, else the node's. */
export function routerAddress(pkt: Packet, dp: Dataplane): number {
  const { config } = dp.node;
  const outside = pkt.inPort === 0 && pkt.tunnelled === 0;
  return outside ? config[NodeWord.NODE_IP + 3] : config[NodeWord.GATEWAY_IP + 3];
}

/**
 * Make the descriptor describe the reply at ANSWER_AT, a whole packet without offloads, and write its IPv4 header.
 * @param src address the reply comes from; it goes to the packet's sender
 * @param bytes of the reply behind its IPv4 header
 */
function becomeReply(pkt: Packet, dp: Dataplane, src: number, protocol: number, bytes: number): void {
  const { view } = pkt;
  const dst = pkt.src[3];
  view.setUint16(ANSWER_L3, 0x4500);
  view.setUint16(ANSWER_L3 + 2, 20 + bytes);
  view.setUint16(ANSWER_L3 + 4, dp.nextIpId);
  dp.nextIpId = (dp.nextIpId + 1) & 0xffff;
  view.setUint16(ANSWER_L3 + 6, 0x4000);
  view.setUint16(ANSWER_L3 + 8, (64 << 8) | protocol);
  view.setUint16(ANSWER_L3 + 10, 0);
  view.setInt32(ANSWER_L3 + 12, src);
  view.setInt32(ANSWER_L3 + 16, dst);
  view.setUint16(ANSWER_L3 + 10, ipv4HeaderChecksum(view, ANSWER_L3, 20));
  pkt.start = ANSWER_AT;
  pkt.l3 = ANSWER_L3;
  pkt.l4 = ANSWER_L4;
  pkt.end = ANSWER_L4 + bytes;
  pkt.headersEnd = ANSWER_L4;
  pkt.protocol = protocol;
  pkt.src[3] = src;
  pkt.dst[3] = dst;
  pkt.fragmentOffset = 0;
  pkt.moreFragments = 0;
  pkt.flow = -1;
  pkt.needsChecksum = 0;
  pkt.gsoType = 0;
  pkt.gsoSize = 0;
  pkt.outerL4 = 0;
  pkt.innerL3 = 0;
}

/**
 * Answer a TCP segment with a reset from the address it was sent to (RFC 9293 §3.10.7.1).
 * @returns false when policy forbids a reply
 */
export function answerReset(pkt: Packet, dp: Dataplane): boolean {
  if (pkt.protocol !== PROTOCOL_TCP || !mayAnswer(pkt, dp)) return false;
  const { view, l4, tcpFlags } = pkt;
  const sequence = view.getUint32(l4 + 4);
  const acknowledged = view.getUint32(l4 + 8);
  const tcp = ANSWER_L4;
  becomeReply(pkt, dp, pkt.dst[3], PROTOCOL_TCP, 20);
  view.setUint16(tcp, pkt.dstPort);
  view.setUint16(tcp + 2, pkt.srcPort);
  if ((tcpFlags & ACK) !== 0) {
    view.setUint32(tcp + 4, acknowledged);
    view.setUint32(tcp + 8, 0);
    view.setUint16(tcp + 12, 0x5000 | RST);
  } else {
    const occupies = pkt.payloadBytes + ((tcpFlags & SYN) !== 0 ? 1 : 0) + ((tcpFlags & FIN) !== 0 ? 1 : 0);
    view.setUint32(tcp + 4, 0);
    view.setUint32(tcp + 8, (sequence + occupies) >>> 0);
    view.setUint16(tcp + 12, 0x5000 | RST | ACK);
  }
  view.setUint16(tcp + 14, 0);
  view.setUint32(tcp + 16, 0);
  const sum = sumBytes(view, tcp, tcp + 20, pseudoHeaderSum(view, ANSWER_L3, PROTOCOL_TCP, 20));
  view.setUint16(tcp + 16, finishChecksum(sum));
  const port = pkt.srcPort;
  pkt.srcPort = pkt.dstPort;
  pkt.dstPort = port;
  pkt.tcpFlags = RST;
  return true;
}

/**
 * Answer with an ICMP error that quotes the packet.
 * @param src address the error comes from
 * @param typeAndCode type << 8 | code
 * @param rest the four bytes behind the checksum (the next-hop MTU of "fragmentation needed", RFC 1191 §4)
 * @returns false when policy forbids a reply
 */
export function answerIcmpError(pkt: Packet, dp: Dataplane, src: number, typeAndCode: number, rest: number): boolean {
  if (!mayAnswer(pkt, dp)) return false;
  const { view, bytes, l3 } = pkt;
  const room = pkt.end - l3;
  const quoted = room < QUOTE_BYTES ? room : QUOTE_BYTES;
  const icmp = ANSWER_L4;
  bytes.copyWithin(icmp + 8, l3, l3 + quoted);
  becomeReply(pkt, dp, src, PROTOCOL_ICMP, 8 + quoted);
  view.setUint16(icmp, typeAndCode);
  view.setUint16(icmp + 2, 0);
  view.setUint32(icmp + 4, rest);
  view.setUint16(icmp + 2, finishChecksum(sumBytes(view, icmp, pkt.end, 0)));
  pkt.icmpType = typeAndCode >> 8;
  pkt.icmpCode = typeAndCode & 0xff;
  pkt.srcPort = 0;
  pkt.dstPort = 0;
  return true;
}
