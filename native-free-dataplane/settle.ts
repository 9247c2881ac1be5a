/**
 * The end of a packet: the reply that its verdict requires, if any, and a note of a packet that did not arrive. Most
 * packets arrive and need neither: for these it is one load and one branch.
 */
import type { Dataplane } from './dataplane.ts';
import { changeLastVerdict } from './drops/ring.ts';
import { HopKind, hopKind } from './node/hops.ts';
import type { Packet } from './packet.ts';
import { PROTOCOL_TCP } from './protocols.ts';
import { countOut } from './shared/counters.ts';
import { answerIcmpError, answerReset } from './stages/answer.ts';
import { answerEcho } from './stages/gateway-icmp.ts';
import { noteDrop } from './stages/note-drop.ts';
import { transmit } from './transmit.ts';
import { FAILED, IS_SETTLED, REPLY_ERROR, REPLY_KIND, ReplyKind, UNANSWERED, Verdict } from './verdicts.ts';

/** Send the reply this verdict requires, if any; returns the verdict to count. */
export function settle(pkt: Packet, dp: Dataplane, verdict: Verdict): Verdict {
  if (IS_SETTLED[verdict] !== 0) return verdict;
  const kind = REPLY_KIND[verdict];
  if (kind === ReplyKind.ARP_REPLY) {
    countOut(dp.counters, pkt.outPort, pkt.end - pkt.start);
    dp.emitter.emit(pkt);
    return verdict;
  }
  // Before the reply, which takes the packet's place in the descriptor.
  if (FAILED[verdict] !== 0) noteDrop(pkt, dp, verdict);
  if (kind === ReplyKind.NONE) return verdict;
  if (makeReply(pkt, dp, verdict, kind)) return sendBack(pkt, dp, verdict);
  const unanswered = UNANSWERED[verdict] as Verdict;
  if (FAILED[verdict] !== 0) changeLastVerdict(dp.counters.drops, unanswered);
  else noteDrop(pkt, dp, unanswered);
  return unanswered;
}

/**
 * Turn the packet into the reply of the verdict's row.
 * @returns false if a reply is not permitted (stages/answer.ts)
 */
function makeReply(pkt: Packet, dp: Dataplane, verdict: Verdict, kind: number): boolean {
  if (kind === ReplyKind.ECHO_REPLY) return answerEcho(pkt);
  const asClosedPort = kind === ReplyKind.AS_CLOSED_PORT;
  if (kind === ReplyKind.TCP_RESET || (asClosedPort && pkt.protocol === PROTOCOL_TCP)) return answerReset(pkt, dp);
  const mtu = verdict === Verdict.FRAGMENTATION_NEEDED ? pkt.linkMtu : 0;
  return answerIcmpError(pkt, dp, REPLY_ERROR[verdict], mtu, asClosedPort);
}

/** Send a reply to where the packet came from. */
function sendBack(pkt: Packet, dp: Dataplane, verdict: Verdict): Verdict {
  const hop = pkt.tunnelled !== 0 ? pkt.tunnelNode : pkt.inPort;
  pkt.routed = 1;
  if (hopKind(dp.node, hop) === HopKind.NONE) return Verdict.PORT_DOWN;
  transmit(pkt, dp, hop);
  return verdict;
}
