/**
 * Replies to a packet that is not forwarded: TCP resets and ICMP errors. verdicts.ts defines which verdict gets which.
 *
 * The reply is built in the arena's scratch part and the descriptor is set to describe it; the pipeline sends it back
 * the way the packet came. ICMP errors, resets and later fragments get no reply, and the rate is limited (RFC 1812
 * §4.3.2.7 and §4.3.2.8), so that replies cannot multiply.
 *
 * Read before editing: RFC 792, RFC 1812 §4.3.2, RFC 9293 §3.10.7.1 (resets), RFC 1191 §4 (next-hop MTU).
 */
import { type Dataplane, SCRATCH_AT } from '../dataplane.ts';
import { isLimited } from '../node/bandwidth.ts';
import { Budget, chargeBudget, isInBudget, noteUnmadeReply } from '../node/budgets.ts';
import { NodeWord } from '../node/config.ts';
import { GSO_NONE, type Packet } from '../packet.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP } from '../protocols.ts';
import { ADDRESS_WORDS, copyAddress } from '../shared/address.ts';
import { ETHERNET_BYTES } from '../wire/ethernet.ts';
import { ICMP_BYTES, icmpQueryType } from '../wire/icmp.ts';
import {
  emitIcmpError,
  type IcmpError,
  icmpErrorCode,
  icmpErrorType,
  MAX_ICMP_ERROR_BYTES,
} from '../wire/icmp-error.ts';
import { emitIp, minHeaderBytes, writeIdentification } from '../wire/ip.ts';
import { emitTcpReset, TCP_MIN_BYTES, TCP_RST } from '../wire/tcp.ts';
import { writeTcpChecksum } from '../wire/transport-checksum.ts';

/** Replies per second, sender and worker, and the burst size (linux icmp_msgs_per_sec is also 1000, for all senders). */
const REPLIES_PER_SECOND = 1000;
const REPLY_BURST = 200;

/** Ethernet headers of replies start here: the IP header is then 4-aligned, with headroom for an overlay. */
const ANSWER_AT: number = SCRATCH_AT + 130;
const ANSWER_L3: number = ANSWER_AT + ETHERNET_BYTES;

/** Source address of the reply; filled and used within one call. */
const replySrc: Int32Array = new Int32Array(ADDRESS_WORDS);

/**
 * Is a reply to this packet permitted? If so, this takes one token from its sender's bucket: one pod that is refused all
 * the time must not suppress the errors of others.
 */
function mayAnswer(pkt: Packet, dp: Dataplane): boolean {
  if (pkt.fragmentOffset !== 0) return false;
  if (pkt.protocol === PROTOCOL_ICMP && icmpQueryType(pkt.icmpType) < 0) return false;
  if (pkt.protocol === PROTOCOL_TCP && (pkt.tcpFlags & TCP_RST) !== 0) return false;
  const { replyTokens, replyFilledMs, nowMs } = dp;
  const sender = pkt.tunnelled !== 0 ? pkt.tunnelNode : pkt.inPort;
  const refilled = replyTokens[sender] + ((nowMs - replyFilledMs[sender]) * REPLIES_PER_SECOND) / 1000;
  const tokens = refilled > REPLY_BURST ? REPLY_BURST : refilled;
  replyFilledMs[sender] = nowMs;
  replyTokens[sender] = tokens;
  if (tokens < 1) {
    noteUnmadeReply(dp.node, sender);
    return false;
  }
  const hasBudget = isLimited(dp.node, sender, Budget.REPLIES);
  if (hasBudget && !isInBudget(dp.node, sender, Budget.REPLIES, nowMs)) return false;
  if (hasBudget) chargeBudget(dp.node, sender, Budget.REPLIES, nowMs);
  replyTokens[sender] = tokens - 1;
  return true;
}

/** Where the reply's transport header starts. */
function replyL4(pkt: Packet): number {
  return ANSWER_L3 + minHeaderBytes(pkt.family);
}

/**
 * Make the descriptor describe the reply at ANSWER_AT, a whole packet without offloads from replySrc to the packet's
 * sender, and write its network header.
 * @param end one past the reply's last byte
 */
function becomeReply(pkt: Packet, dp: Dataplane, protocol: number, end: number): void {
  pkt.l4 = replyL4(pkt);
  pkt.start = ANSWER_AT;
  pkt.l3 = ANSWER_L3;
  pkt.end = end;
  pkt.headersEnd = pkt.l4;
  pkt.protocol = protocol;
  copyAddress(pkt.src, 0, pkt.dst);
  copyAddress(replySrc, 0, pkt.src);
  emitIp(pkt.view, ANSWER_L3, end, protocol, pkt.src, pkt.dst);
  writeIdentification(pkt.view, ANSWER_L3, dp.nextIpId);
  dp.nextIpId = (dp.nextIpId + 1) & 0xffff;
  pkt.fragmentOffset = 0;
  pkt.moreFragments = 0;
  pkt.flow = -1;
  pkt.needsChecksum = 0;
  pkt.gsoType = GSO_NONE;
  pkt.gsoSize = 0;
  pkt.outerL4 = 0;
  pkt.innerL3 = 0;
}

/**
 * Reply to a TCP segment with a reset from the address it was sent to (RFC 9293 §3.10.7.1).
 * @returns false if a reply is not permitted
 */
export function answerReset(pkt: Packet, dp: Dataplane): boolean {
  if (pkt.protocol !== PROTOCOL_TCP || !mayAnswer(pkt, dp)) return false;
  const { view } = pkt;
  copyAddress(pkt.dst, 0, replySrc);
  emitTcpReset(view, replyL4(pkt), pkt.l4, pkt.payloadBytes);
  becomeReply(pkt, dp, PROTOCOL_TCP, replyL4(pkt) + TCP_MIN_BYTES);
  writeTcpChecksum(view, pkt.l3, pkt.l4, pkt.end);
  const port = pkt.srcPort;
  pkt.srcPort = pkt.dstPort;
  pkt.dstPort = port;
  pkt.tcpFlags = TCP_RST;
  return true;
}

/**
 * Reply with an ICMP error that quotes the packet.
 * @param mtu of the next hop for IcmpError.TOO_BIG (RFC 1191 §4), else 0
 * @param asDestination true: the error's source is the packet's destination. False: it is this router's address on the
 *   side the packet came from: the gateway's toward pods and other nodes, else the node's.
 * @returns false if a reply is not permitted
 */
export function answerIcmpError(
  pkt: Packet,
  dp: Dataplane,
  error: IcmpError,
  mtu: number,
  asDestination: boolean,
): boolean {
  if (!mayAnswer(pkt, dp)) return false;
  const { view, l3 } = pkt;
  const outside = pkt.inPort === 0 && pkt.tunnelled === 0;
  if (asDestination) copyAddress(pkt.dst, 0, replySrc);
  else copyAddress(dp.node.config, outside ? NodeWord.NODE_IP : NodeWord.GATEWAY_IP, replySrc);
  const quote = replyL4(pkt) + ICMP_BYTES;
  const room = pkt.end - l3;
  const most = ANSWER_L3 + MAX_ICMP_ERROR_BYTES - quote;
  const quoted = room < most ? room : most;
  pkt.bytes.copyWithin(quote, l3, l3 + quoted);
  becomeReply(pkt, dp, PROTOCOL_ICMP, quote + quoted);
  emitIcmpError(view, pkt.l4, pkt.end, error, mtu);
  pkt.icmpType = icmpErrorType(error);
  pkt.icmpCode = icmpErrorCode(error);
  pkt.srcPort = 0;
  pkt.dstPort = 0;
  return true;
}
