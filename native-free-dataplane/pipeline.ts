/**
 * A packet's life, top to bottom.
 *
 *     frame ─► parse ─► (from another node? decapsulate, parse again) ─► guard ─► which flow?
 *                                                                                   │
 *              first packet:  service? ─► route? ─► policy? ─► make the flow  ◄─────┤
 *                                                                                   ▼
 *                            track ─► hop ─► TTL and MTU ─► translate ─► send, encapsulated if to another node
 *
 * Each step returns GO_ON, or the verdict that ends the packet; verdicts.ts says what each one means. A verdict that
 * owes the sender an answer (a reset, an ICMP error, an echo reply) is paid in one place, `settle`.
 *
 * An established packet makes one look-up: its flow knows the translation, the hop and the overlay's peer. Services,
 * policy and routes are read for the first packet of a connection only.
 */

import { expireFollower } from './conntrack/events.ts';
import { expireRecords, isBehind } from './conntrack/lifetime.ts';
import { Rec, recordAt, Status } from './conntrack/record.ts';
import type { Dataplane } from './dataplane.ts';
import { isConfigAddress, NodeWord } from './node/config.ts';
import { HOST_HOP, HopKind, HopWord, hopAt, hopKind, NO_HOP } from './node/hops.ts';
import { isRoutedByHost, isTunnelPacket, overlayOf } from './overlay/overlay.ts';
import type { Packet } from './packet.ts';
import { PROTOCOL_TCP } from './protocols.ts';
import { countIn, countOut, countVerdict } from './shared/counters.ts';
import { answerIcmpError, answerReset, silently } from './stages/answer.ts';
import { createFlow, mayConnect } from './stages/connect.ts';
import { countFlow, findFlow, trackFlow } from './stages/flow.ts';
import { nextHeld, rememberFirst, tellPorts } from './stages/fragment.ts';
import { answerEcho, isEchoRequest } from './stages/gateway-icmp.ts';
import { guard, speaksAsPod } from './stages/guard.ts';
import { isIcmpError, relateIcmpError, rewriteIcmpError } from './stages/icmp-error.ts';
import { clampMss } from './stages/mss.ts';
import { rewrite } from './stages/nat.ts';
import { answerArp } from './stages/neighbour.ts';
import { offloadFits } from './stages/offload.ts';
import { FAMILY_ARP, parseFrame } from './stages/parse.ts';
import { learnPathMtu } from './stages/path-mtu.ts';
import { checkPolicy } from './stages/policy.ts';
import { hopForAddress, hopOfFlow, isOwnAddress } from './stages/route.ts';
import { chooseService } from './stages/service.ts';
import { checkTtlAndMtu, endsHere } from './stages/ttl-mtu.ts';
import { transmit } from './transmit.ts';
import { Verdict } from './verdicts.ts';

/**
 * One received frame, from its first byte to whatever becomes of it. Never throws on any bytes.
 * @param pkt reset to the frame, its offload fields filled in
 * @param nowMs monotonic milliseconds of the batch
 * @returns the verdict, already counted
 */
export function processFrame(pkt: Packet, dp: Dataplane, nowMs: number): Verdict {
  dp.nowMs = nowMs;
  countIn(dp.counters, pkt.inPort, pkt.end - pkt.start);
  const verdict = settle(pkt, dp, receive(pkt, dp));
  countVerdict(dp.counters, verdict);
  while (nextHeld(pkt, dp)) countVerdict(dp.counters, settle(pkt, dp, receive(pkt, dp)));
  return verdict;
}

/** Work that waits for time and not for packets. @returns milliseconds until it wants to be called again */
export function tick(dp: Dataplane, nowMs: number): number {
  dp.nowMs = nowMs;
  expireRecords(dp.conntrack, dp.worker, nowMs);
  expireFollower(dp.conntrack, nowMs);
  return isBehind(dp.conntrack, dp.worker, nowMs) ? 1 : 1000;
}

/** From the wire to a packet that may be believed. */
function receive(pkt: Packet, dp: Dataplane): Verdict {
  let v: Verdict = parseFrame(pkt);
  if (v !== Verdict.GO_ON) return v;
  if (pkt.family === FAMILY_ARP) return answerArp(pkt, dp);

  if (pkt.inPort === 0 && pkt.tunnelled === 0 && isTunnelPacket(pkt, dp)) {
    v = overlayOf(dp).decapsulate(pkt, dp);
    if (v !== Verdict.GO_ON) return v;
    v = parseFrame(pkt);
    if (v !== Verdict.GO_ON) return v;
    if (pkt.family === FAMILY_ARP) return Verdict.VXLAN_INNER_FRAME;
    v = overlayOf(dp).checkInner(pkt, dp);
    if (v !== Verdict.GO_ON) return v;
  }
  v = guard(pkt, dp);
  if (v !== Verdict.GO_ON) return v;
  if (pkt.inPort === 0 && pkt.tunnelled === 0) overlayOf(dp).markPeer(pkt, dp);
  if (speaksAsPod(pkt, dp)) return Verdict.SPOOFED_SOURCE_IP;
  return offloadFits(pkt) ? forward(pkt, dp) : Verdict.OFFLOAD_INVALID;
}

/** From a packet that may be believed to the hop it leaves by. */
function forward(pkt: Packet, dp: Dataplane): Verdict {
  let v: Verdict = Verdict.GO_ON;
  if (isIcmpError(pkt)) return forwardIcmpError(pkt, dp);
  if (pkt.fragmentOffset !== 0) {
    v = tellPorts(pkt, dp);
    if (v !== Verdict.GO_ON) return v;
  }

  findFlow(pkt, dp);
  if (pkt.flow >= 0) {
    v = trackFlow(pkt, dp);
    if (v !== Verdict.GO_ON) return v;
  }
  if (pkt.flow < 0) {
    v = connect(pkt, dp);
    if (v === Verdict.TO_HOST && pkt.moreFragments !== 0) {
      // Later fragments follow their first to the node's own sockets as well.
      const remembered = rememberFirst(pkt, dp);
      if (remembered !== Verdict.GO_ON) return remembered;
    }
    if (v !== Verdict.GO_ON) return v;
    if (pkt.joined !== 0) {
      // Another worker was faster: for its flow this is no first packet, and may even be the answer to that one.
      v = trackFlow(pkt, dp);
      if (v !== Verdict.GO_ON) return v;
      if (pkt.flow < 0) return Verdict.CONNTRACK_INVALID;
    }
  }
  const hop = hopOfFlow(pkt, dp);
  if (hop === NO_HOP || goneEndpoint(pkt, dp))
    return pkt.protocol === PROTOCOL_TCP ? Verdict.ENDPOINT_GONE : Verdict.NO_ROUTE_ANSWERED;

  v = checkTtlAndMtu(pkt, dp, hop, hop === HOST_HOP && leavesToOwnAddress(pkt, dp));
  if (v !== Verdict.GO_ON) return v;
  if (pkt.moreFragments !== 0 || pkt.fragmentOffset !== 0) {
    v = rememberFirst(pkt, dp);
    if (v !== Verdict.GO_ON) return v;
  }
  if (!rewrite(pkt, dp)) return Verdict.CONNTRACK_INVALID;
  countFlow(pkt, dp);
  clampMss(pkt, dp, hop);
  return transmit(pkt, dp, hop);
}

/** The first packet of a connection: the only place that reads services, routes and policy. GO_ON with pkt.flow made. */
function connect(pkt: Packet, dp: Dataplane): Verdict {
  const { node } = dp;
  const fromHost = pkt.inPort === 0 && pkt.tunnelled === 0;
  let v: Verdict = mayConnect(pkt);
  // An answer to no question of ours may be one to the node's own.
  if (v !== Verdict.GO_ON) return fromHost && isOwnAddress(node, pkt.dst) ? Verdict.TO_HOST : v;
  if (!fromHost && isEchoRequest(pkt) && isConfigAddress(node.config, NodeWord.GATEWAY_IP, pkt.dst))
    return Verdict.PING_ANSWERED;

  v = chooseService(pkt, dp);
  if (v !== Verdict.GO_ON) return v;
  const target = pkt.dnat !== 0 ? pkt.newDst : pkt.dst;
  const hop = hopForAddress(node, target);
  if (hop === NO_HOP) return Verdict.NO_ROUTE_ANSWERED;
  if (hop === HOST_HOP && fromHost && pkt.dnat === 0) {
    // What the rules sent here although it is the kernel's own: a ping to the node, an answer to no flow of ours.
    return isOwnAddress(node, pkt.dst) ? Verdict.TO_HOST : Verdict.NOT_FOR_US;
  }
  if (pkt.routed === 0 && !fromHost && pkt.dnat === 0 && !switchedTo(pkt, dp, hop))
    return Verdict.DESTINATION_MAC_FOREIGN;
  if (endsHere(pkt, hop)) return Verdict.TTL_EXCEEDED;
  v = checkPolicy(pkt, dp, hop);
  if (v !== Verdict.GO_ON) return v;
  if (hop === HOST_HOP) {
    // Nobody outside knows the way to a pod; and the node's own sockets answer others, and the node itself, past us.
    const own = isOwnAddress(node, target);
    if (fromHost ? own || isOwnAddress(node, pkt.src) : pkt.inPort !== 0 && !own) pkt.masquerade = 1;
  }

  const replyHop = hopForAddress(node, pkt.src);
  if (replyHop === NO_HOP) return Verdict.NO_ROUTE;
  return createFlow(pkt, dp, hop, replyHop);
}

/** ICMP errors belong to the flow of the packet they quote, and change nothing about it (RFC 5508 REQ-6). */
function forwardIcmpError(pkt: Packet, dp: Dataplane): Verdict {
  let v: Verdict = relateIcmpError(pkt, dp);
  if (v === Verdict.ICMP_ERROR_UNRELATED && pkt.inPort === 0 && pkt.tunnelled === 0 && isOwnAddress(dp.node, pkt.dst)) {
    learnPathMtu(pkt, dp);
    return Verdict.TO_HOST;
  }
  if (v === Verdict.ICMP_ERROR_UNRELATED && pkt.inPort === 0 && pkt.tunnelled === 0 && isOwnAddress(dp.node, pkt.src)) {
    // Without an overlay the node's kernel is a router between pods: it may refuse what never got to us.
    const asker = hopForAddress(dp.node, pkt.dst);
    if (isRoutedByHost(dp, asker)) return transmit(pkt, dp, asker);
  }
  if (v !== Verdict.GO_ON) return v;
  const hop = hopOfFlow(pkt, dp);
  if (hop === NO_HOP) return Verdict.NO_ROUTE;
  v = checkTtlAndMtu(pkt, dp, hop, hop === HOST_HOP && leavesToOwnAddress(pkt, dp));
  if (v !== Verdict.GO_ON) return v;
  rewriteIcmpError(pkt, dp, hop);
  return transmit(pkt, dp, hop);
}

/** A frame that was not sent to the gateway must have been sent to the very pod its packet is for. */
function switchedTo(pkt: Packet, dp: Dataplane, hop: number): boolean {
  const { view, start } = pkt;
  const { hops } = dp.node;
  const at = hopAt(hop);
  return (
    hops[at + HopWord.KIND] === HopKind.POD &&
    view.getUint16(start) === hops[at + HopWord.MAC_HIGH] &&
    view.getUint32(start + 2) === hops[at + HopWord.MAC_LOW] >>> 0
  );
}

/** Will the packet, once translated, be for the node itself? Then it is delivered, not forwarded. */
function leavesToOwnAddress(pkt: Packet, dp: Dataplane): boolean {
  const { conntrack, node } = dp;
  const target =
    conntrack.words[recordAt(conntrack, pkt.flow) + Rec.TUPLES + (1 - pkt.direction) * conntrack.tupleWords];
  return (
    target === node.config[NodeWord.NODE_IP + 3] ||
    target === node.config[NodeWord.GATEWAY_IP + 3] ||
    target >>> 24 === 127
  );
}

/** Was the flow's endpoint taken away under it? */
function goneEndpoint(pkt: Packet, dp: Dataplane): boolean {
  return (dp.conntrack.words[recordAt(dp.conntrack, pkt.flow) + Rec.META] & Status.ENDPOINT_GONE) !== 0;
}

/** Pay what the verdict owes the sender. The verdict to count comes back. */
function settle(pkt: Packet, dp: Dataplane, verdict: Verdict): Verdict {
  switch (verdict) {
    case Verdict.ARP_ANSWERED:
      countOut(dp.counters, pkt.outPort, pkt.end - pkt.start);
      dp.emitter.emit(pkt);
      return verdict;
    case Verdict.TO_HOST:
      if (pkt.outPort === 0 && pkt.inPort === 0 && pkt.flow < 0) return transmit(pkt, dp, HOST_HOP);
      return verdict;
    case Verdict.PING_ANSWERED: {
      const answered = answerEcho(pkt);
      return answered === Verdict.PING_ANSWERED ? sendBack(pkt, dp, verdict) : answered;
    }
    case Verdict.REJECTED_TCP_RESET:
    case Verdict.ENDPOINT_GONE:
      return answerReset(pkt, dp) ? sendBack(pkt, dp, verdict) : silently(verdict);
    case Verdict.REJECTED_PORT_UNREACHABLE:
      return answerIcmpError(pkt, dp, 3, 3, 0) ? sendBack(pkt, dp, verdict) : silently(verdict);
    case Verdict.PORT_NOT_DECLARED:
      // As if nobody listened there, which is what the policy means: the pod itself seems to say so.
      if (pkt.protocol === PROTOCOL_TCP ? answerReset(pkt, dp) : answerIcmpError(pkt, dp, 3, 3, 0, pkt.dst[3]))
        sendBack(pkt, dp, verdict);
      return verdict;
    case Verdict.SNAT_EXHAUSTED:
      return answerIcmpError(pkt, dp, 3, 13, 0) ? sendBack(pkt, dp, Verdict.REJECTED_PROHIBITED) : verdict;
    case Verdict.TTL_EXCEEDED:
      return answerIcmpError(pkt, dp, 11, 0, 0) ? sendBack(pkt, dp, verdict) : silently(verdict);
    case Verdict.FRAGMENTATION_NEEDED:
      return answerIcmpError(pkt, dp, 3, 4, mtuOf(pkt, dp)) ? sendBack(pkt, dp, verdict) : silently(verdict);
    case Verdict.NO_ROUTE_ANSWERED:
      return answerIcmpError(pkt, dp, 3, 1, 0) ? sendBack(pkt, dp, verdict) : silently(verdict);
    default:
      return verdict;
  }
}

/** MTU of the link the packet did not fit: that of its flow's hop. */
function mtuOf(pkt: Packet, dp: Dataplane): number {
  return dp.node.hops[hopAt(hopOfFlow(pkt, dp)) + HopWord.MTU];
}

/** Send an answer back the way the packet came. */
function sendBack(pkt: Packet, dp: Dataplane, verdict: Verdict): Verdict {
  const hop = pkt.tunnelled !== 0 ? pkt.tunnelNode : pkt.inPort;
  pkt.routed = 1;
  if (hopKind(dp.node, hop) === HopKind.NONE) return Verdict.PORT_DOWN;
  transmit(pkt, dp, hop);
  return verdict;
}
