/**
 * Telling the sender: TCP resets and ICMP errors about a packet that goes no further.
 *
 * The answer is built in the arena's scratch part and the descriptor is made to stand for it; the pipeline sends it
 * back the way the packet came. Nobody is told about an ICMP error, a later fragment, or beyond the rate limit
 * (RFC 1812 §4.3.2.7 and §4.3.2.8), so that answers can never multiply.
 *
 * Read before editing: RFC 792, RFC 1812 §4.3.2, RFC 9293 §3.10.7.1 (resets), RFC 1191 §4 (next-hop MTU).
 */

import { type Dataplane, SCRATCH_AT } from '../dataplane.ts';
import { NodeWord } from '../node/config.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP } from '../protocols.ts';
import { Verdict } from '../verdicts.ts';
import { finishChecksum, sumBytes } from '../wire/checksum.ts';
import { ipv4HeaderChecksum } from '../wire/ipv4.ts';
import { pseudoHeaderSum } from '../wire/transport-checksum.ts';

/** Answers per second and worker, and how many may come at once (linux icmp_msgs_per_sec is 1000 as well). */
const ERRORS_PER_SECOND = 1000;
const ERROR_BURST = 200;
/** An ICMP error is at most 576 bytes long: so many bytes of the packet are quoted (RFC 1812 §4.3.2.3). */
const QUOTE_BYTES: number = 576 - 28;

const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;

/** Ethernet headers of answers start here: the IP header is then 4-aligned, with headroom for an overlay in front. */
const ANSWER_AT: number = SCRATCH_AT + 130;

/** May the sender be told anything? */
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

/** IPv4 header of an answer at `at`; the checksum included. */
function emitIpv4(
  pkt: Packet,
  dp: Dataplane,
  at: number,
  bytes: number,
  protocol: number,
  src: number,
  dst: number,
): void {
  const { view } = pkt;
  view.setUint16(at, 0x4500);
  view.setUint16(at + 2, bytes);
  view.setUint16(at + 4, dp.nextIpId);
  dp.nextIpId = (dp.nextIpId + 1) & 0xffff;
  view.setUint16(at + 6, 0x4000);
  view.setUint16(at + 8, (64 << 8) | protocol);
  view.setUint16(at + 10, 0);
  view.setInt32(at + 12, src);
  view.setInt32(at + 16, dst);
  view.setUint16(at + 10, ipv4HeaderChecksum(view, at, 20));
}

/** Make the descriptor stand for the answer at ANSWER_AT: a whole packet without offloads. */
function become(pkt: Packet, l4: number, end: number, protocol: number, src: number, dst: number): void {
  pkt.start = ANSWER_AT;
  pkt.l3 = ANSWER_AT + 14;
  pkt.l4 = l4;
  pkt.end = end;
  pkt.headersEnd = l4;
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
 * Answer a TCP segment with a reset from whom it was sent to.
 * @returns false when the sender may not be told
 */
export function answerReset(pkt: Packet, dp: Dataplane): boolean {
  if (pkt.protocol !== PROTOCOL_TCP || !mayAnswer(pkt, dp)) return false;
  const { view, l4 } = pkt;
  const flags = pkt.tcpFlags;
  const sequence = view.getUint32(l4 + 4);
  const acknowledged = view.getUint32(l4 + 8);
  const src = pkt.dst[3];
  const dst = pkt.src[3];
  const l3 = ANSWER_AT + 14;
  const tcp = l3 + 20;
  emitIpv4(pkt, dp, l3, 40, PROTOCOL_TCP, src, dst);
  view.setUint16(tcp, pkt.dstPort);
  view.setUint16(tcp + 2, pkt.srcPort);
  if ((flags & ACK) !== 0) {
    view.setUint32(tcp + 4, acknowledged);
    view.setUint32(tcp + 8, 0);
    view.setUint16(tcp + 12, 0x5000 | RST);
  } else {
    const occupies = pkt.payloadBytes + ((flags & SYN) !== 0 ? 1 : 0) + ((flags & FIN) !== 0 ? 1 : 0);
    view.setUint32(tcp + 4, 0);
    view.setUint32(tcp + 8, (sequence + occupies) >>> 0);
    view.setUint16(tcp + 12, 0x5000 | RST | ACK);
  }
  view.setUint16(tcp + 14, 0);
  view.setUint32(tcp + 16, 0);
  view.setUint16(tcp + 16, finishChecksum(sumBytes(view, tcp, tcp + 20, pseudoHeaderSum(view, l3, PROTOCOL_TCP, 20))));
  const port = pkt.srcPort;
  pkt.srcPort = pkt.dstPort;
  pkt.dstPort = port;
  pkt.tcpFlags = RST;
  become(pkt, tcp, tcp + 20, PROTOCOL_TCP, src, dst);
  return true;
}

/**
 * Answer with an ICMP error that quotes the packet.
 * @param rest the four bytes behind the checksum (the next-hop MTU for type 3 code 4)
 * @param from who says so; 0 for this node's own address on that side
 * @returns false when the sender may not be told
 */
export function answerIcmpError(
  pkt: Packet,
  dp: Dataplane,
  type: number,
  code: number,
  rest: number,
  from: number = 0,
): boolean {
  if (!mayAnswer(pkt, dp)) return false;
  const { view, bytes } = pkt;
  const { config } = dp.node;
  // Toward pods and other nodes the gateway speaks; toward the node and outside its underlay address does.
  const outside = pkt.inPort === 0 && pkt.tunnelled === 0;
  const own = outside ? config[NodeWord.NODE_IP + 3] : config[NodeWord.GATEWAY_IP + 3];
  const src = from !== 0 ? from : own;
  const dst = pkt.src[3];
  const room = pkt.end - pkt.l3;
  const quoted = room < QUOTE_BYTES ? room : QUOTE_BYTES;
  const l3 = ANSWER_AT + 14;
  const icmp = l3 + 20;
  const end = icmp + 8 + quoted;
  emitIpv4(pkt, dp, l3, 28 + quoted, PROTOCOL_ICMP, src, dst);
  bytes.copyWithin(icmp + 8, pkt.l3, pkt.l3 + quoted);
  view.setUint16(icmp, (type << 8) | code);
  view.setUint16(icmp + 2, 0);
  view.setUint32(icmp + 4, rest);
  view.setUint16(icmp + 2, finishChecksum(sumBytes(view, icmp, end, 0)));
  pkt.icmpType = type;
  pkt.icmpCode = code;
  pkt.srcPort = 0;
  pkt.dstPort = 0;
  become(pkt, icmp, end, PROTOCOL_ICMP, src, dst);
  return true;
}

/** What is said for a verdict when it may not be said aloud. */
export function silently(verdict: Verdict): Verdict {
  if (verdict === Verdict.TTL_EXCEEDED) return Verdict.TTL_EXCEEDED_SILENT;
  if (verdict === Verdict.FRAGMENTATION_NEEDED) return Verdict.TOO_BIG_SILENT;
  if (verdict === Verdict.NO_ROUTE_ANSWERED) return Verdict.NO_ROUTE;
  if (verdict === Verdict.REJECTED_PROHIBITED) return Verdict.SNAT_EXHAUSTED;
  if (verdict === Verdict.PORT_NOT_DECLARED || verdict === Verdict.ENDPOINT_GONE) return verdict;
  return Verdict.NO_ENDPOINT_SILENT;
}
