/**
 * A packet's life, top to bottom.
 *
 *     frame ─► parse ─► (from another node? decapsulate, parse again) ─► guard ─► which flow?
 *                                                                                   │
 *              first packet:  service? ─► route? ─► policy? ─► make the flow  ◄─────┤
 *                                                                                   ▼
 *                            hop ─► TTL and MTU ─► track ─► translate ─► send, encapsulated if to another node
 *
 * A packet that ends before it is sent changes no table: whatever can refuse it is asked before its flow is made or moved.
 *
 * Each step returns GO_ON, or the verdict that ends the packet (verdicts.ts). A verdict whose row has a reply (a reset,
 * an ICMP error, an echo reply) gets it in one place, `settle`.
 *
 * An established packet makes one look-up: its flow knows the translation, the hop and the overlay's peer. Services,
 * policy and routes are read for the first packet of a connection only.
 */

import { expireFollower } from './conntrack/events.ts';
import { expireRecords, isBehind } from './conntrack/lifetime.ts';
import { removeRecord } from './conntrack/tuple-index.ts';
import type { Dataplane } from './dataplane.ts';
import { HopWord, NodeWord } from './node/config.ts';
import { HOST_HOP, HopKind, hopAt, hopKind, NO_HOP } from './node/hops.ts';
import { isOwnAddress } from './node/host-routes.ts';
import { isFirstOfRoute } from './node/routes.ts';
import { combineEcn } from './overlay/ecn.ts';
import { isRoutedByHost, isTunnelPacket, overlayOf } from './overlay/overlay.ts';
import type { Packet } from './packet.ts';
import { PROTOCOL_TCP } from './protocols.ts';
import { sameAddress } from './shared/address.ts';
import { countIn, countOut, countVerdict } from './shared/counters.ts';
import { answerIcmpError, answerReset } from './stages/answer.ts';
import { createFlow, mayConnect } from './stages/connect.ts';
import { countFlow, findFlow, opensAnother, trackFlow } from './stages/flow.ts';
import { expireHeld, forgetFirst, inheritPorts, nextHeld, rememberFirst } from './stages/fragment.ts';
import { answerEcho, isEchoRequest } from './stages/gateway-icmp.ts';
import { entersTunnel, guard, speaksAsPod } from './stages/guard.ts';
import { isFromFarEnd, isIcmpError, relateIcmpError, rewriteIcmpError } from './stages/icmp-error.ts';
import { clampMss } from './stages/mss.ts';
import { rewrite } from './stages/nat.ts';
import { answerArp } from './stages/neighbour.ts';
import { offloadFits } from './stages/offload.ts';
import { FAMILY_ARP, parseFrame } from './stages/parse.ts';
import { learnPathMtu } from './stages/path-mtu.ts';
import { checkPolicy } from './stages/policy.ts';
import { hopForAddress, hopOfFlow } from './stages/route.ts';
import { chooseService, noteChoice } from './stages/service.ts';
import { lowerTtl, mayLeave } from './stages/ttl-mtu.ts';
import { transmit } from './transmit.ts';
import { REPLY_ERROR, REPLY_KIND, ReplyKind, UNANSWERED, Verdict } from './verdicts.ts';
import { isDestinationMac } from './wire/ethernet.ts';
import { ecn } from './wire/ip.ts';

/**
 * Process one received frame to its end. Never throws, whatever its bytes.
 * @param pkt reset to the frame, its offload fields filled in
 * @param nowMs monotonic milliseconds of the batch
 * @returns the verdict, already counted unless it is FRAGMENT_HELD
 */
export function processFrame(pkt: Packet, dp: Dataplane, nowMs: number): Verdict {
  dp.nowMs = nowMs;
  countIn(dp.counters, pkt.inPort, pkt.end - pkt.start);
  const verdict = settle(pkt, dp, receive(pkt, dp));
  // A held fragment has its verdict when its first has come, or never does (stages/fragment.ts).
  if (verdict !== Verdict.FRAGMENT_HELD) countVerdict(dp.counters, verdict);
  while (nextHeld(pkt, dp)) countVerdict(dp.counters, settle(pkt, dp, receive(pkt, dp)));
  return verdict;
}

/** Expire connections. @returns milliseconds after which it is to be called again */
export function tick(dp: Dataplane, nowMs: number): number {
  dp.nowMs = nowMs;
  expireRecords(dp.conntrack, dp.worker, nowMs);
  expireFollower(dp.conntrack, nowMs);
  expireHeld(dp);
  return isBehind(dp.conntrack, dp.worker, nowMs) ? 1 : 1000;
}

/** From a received frame to a packet whose headers and source are valid. */
function receive(pkt: Packet, dp: Dataplane): Verdict {
  let v: Verdict = parseFrame(pkt);
  if (v !== Verdict.GO_ON) return v;
  if (pkt.family === FAMILY_ARP) return answerArp(pkt, dp);

  if (pkt.inPort === 0 && pkt.tunnelled === 0 && isTunnelPacket(pkt, dp)) {
    const mark = ecn(pkt.view, pkt.l3);
    v = overlayOf(dp).decapsulate(pkt, dp);
    if (v !== Verdict.GO_ON) return v;
    v = parseFrame(pkt);
    if (v !== Verdict.GO_ON) return v;
    if (pkt.family === FAMILY_ARP) return Verdict.VXLAN_INNER_FRAME;
    v = overlayOf(dp).checkInner(pkt, dp);
    if (v !== Verdict.GO_ON) return v;
    v = combineEcn(pkt, mark);
    if (v !== Verdict.GO_ON) return v;
  }
  v = guard(pkt, dp);
  if (v !== Verdict.GO_ON) return v;
  if (pkt.inPort === 0 && pkt.tunnelled === 0) overlayOf(dp).markPeer(pkt, dp);
  if (speaksAsPod(pkt, dp)) return Verdict.SPOOFED_SOURCE_IP;
  return offloadFits(pkt) ? forward(pkt, dp) : Verdict.OFFLOAD_INVALID;
}

/** From a valid packet to the hop it leaves by. */
function forward(pkt: Packet, dp: Dataplane): Verdict {
  let v: Verdict = Verdict.GO_ON;
  if (isIcmpError(pkt)) return forwardIcmpError(pkt, dp);
  if (pkt.fragmentOffset !== 0) {
    v = inheritPorts(pkt, dp);
    if (v !== Verdict.GO_ON) return v;
  }

  findFlow(pkt, dp);
  let known = pkt.flow >= 0 && !opensAnother(pkt, dp);
  if (!known) {
    v = connect(pkt, dp);
    if (v !== Verdict.GO_ON) return v;
    // Another worker created the flow first: to that flow this is a later packet, and maybe a reply.
    known = pkt.joined !== 0;
  }
  const hop = hopOfFlow(pkt, dp, pkt.direction);
  if (known) {
    v = follow(pkt, dp, hop);
    if (v !== Verdict.GO_ON) return v;
  }
  lowerTtl(pkt, dp, hop);
  if (!rewrite(pkt, dp)) return Verdict.CONNTRACK_INVALID;
  countFlow(pkt, dp);
  clampMss(pkt, dp, hop);
  return transmit(pkt, dp, hop);
}

/**
 * A packet of a known flow: may it travel on, and does it fit its connection? The connection is asked last, and learns of
 * the packet only if it goes on: one that is dropped must neither move a state nor prolong or shorten a life. (A reset
 * whose TTL ends on the way to its receiver is how a blind attacker would end a connection here alone.)
 */
function follow(pkt: Packet, dp: Dataplane, hop: number): Verdict {
  if (hop === NO_HOP) return pkt.protocol === PROTOCOL_TCP ? Verdict.ENDPOINT_GONE : Verdict.NO_ROUTE_ANSWERED;
  let v = mayLeave(pkt, dp, hop);
  if (v !== Verdict.GO_ON) return v;
  if (pkt.moreFragments !== 0) {
    v = rememberFirst(pkt, dp);
    if (v !== Verdict.GO_ON) return v;
  }
  v = trackFlow(pkt, dp);
  if (v !== Verdict.GO_ON && pkt.moreFragments !== 0) forgetFirst(pkt, dp);
  return v;
}

/** The first packet of a connection: only here are services, routes and policy read. GO_ON with pkt.flow set, or the end. */
function connect(pkt: Packet, dp: Dataplane): Verdict {
  const { node } = dp;
  const fromHost = pkt.inPort === 0 && pkt.tunnelled === 0;
  let v: Verdict = mayConnect(pkt);
  // An unsolicited ICMP reply may belong to a query sent by the node itself.
  if (v !== Verdict.GO_ON) return fromHost && isOwnAddress(node, pkt.dst) ? handToHost(pkt, dp) : v;
  if (!fromHost && isEchoRequest(pkt) && sameAddress(pkt.dst, node.config, NodeWord.GATEWAY_IP))
    return Verdict.PING_ANSWERED;

  v = chooseService(pkt, dp);
  if (v !== Verdict.GO_ON) return v;
  // An address is judged after its translation as well: a node takes what this one sends for the overlay's.
  if (pkt.dnat !== 0 && entersTunnel(dp, pkt.protocol, pkt.newDst, pkt.newDstPort)) return Verdict.OVERLAY_FROM_POD;
  const target = pkt.dnat !== 0 ? pkt.newDst : pkt.dst;
  const hop = hopForAddress(node, target);
  if (hop === NO_HOP) return Verdict.NO_ROUTE_ANSWERED;
  const kind = hopKind(node, hop);
  // The node's own traffic that its rules sent here: a ping to the node, a reply to no flow of ours.
  if (kind === HopKind.LOCAL && fromHost && pkt.dnat === 0) return handToHost(pkt, dp);
  if (kind === HopKind.HOST && fromHost && pkt.dnat === 0) return Verdict.NOT_FOR_US;
  if (pkt.routed === 0 && !fromHost && pkt.dnat === 0 && !switchedTo(pkt, dp, hop))
    return Verdict.DESTINATION_MAC_FOREIGN;
  v = mayLeave(pkt, dp, hop);
  if (v !== Verdict.GO_ON) return v;
  v = checkPolicy(pkt, dp, hop);
  if (v !== Verdict.GO_ON) return v;
  if (hidesSource(pkt, dp, kind)) pkt.masquerade = 1;

  const replyHop = hopForAddress(node, pkt.src);
  if (replyHop === NO_HOP) return Verdict.NO_ROUTE_BACK;
  if (pkt.moreFragments !== 0) {
    v = rememberFirst(pkt, dp);
    if (v !== Verdict.GO_ON) return v;
  }
  // The connection that this one follows on the same tuple ends now, when nothing is in the new one's way any more.
  if (pkt.flow >= 0) removeRecord(dp.conntrack, pkt.flow);
  v = createFlow(pkt, dp, hop, replyHop);
  if (v === Verdict.GO_ON) noteChoice(pkt, dp);
  else if (pkt.moreFragments !== 0) forgetFirst(pkt, dp);
  return v;
}

/**
 * Must the source be hidden because answers to it would not come back this way? What a service asks for is decided by
 * stages/service.ts.
 * @param kind of the hop that the packet leaves by
 */
function hidesSource(pkt: Packet, dp: Dataplane, kind: number): boolean {
  const { node } = dp;
  const fromHost = pkt.inPort === 0 && pkt.tunnelled === 0;
  // Other nodes know this one's pods and its gateway, and send what is for other addresses past the overlay (flannel
  // pkg/trafficmngr/iptables: "! -s cluster -d cluster -j MASQUERADE").
  if (kind === HopKind.NODE) return fromHost && !sameAddress(pkt.src, node.config, NodeWord.GATEWAY_IP);
  // What the node's own sockets reply to itself does not pass here.
  if (kind === HopKind.LOCAL) return fromHost;
  // The outside has no route to pods; and what the node's own sockets send to the outside is answered past us.
  if (kind === HopKind.HOST) return fromHost ? isOwnAddress(node, pkt.src) : pkt.inPort !== 0;
  return false;
}

/** Give the packet back to the node's kernel as it came, without a flow. Later fragments follow their first there. */
function handToHost(pkt: Packet, dp: Dataplane): Verdict {
  if (pkt.moreFragments !== 0) {
    const v = rememberFirst(pkt, dp);
    if (v !== Verdict.GO_ON) return v;
  }
  return transmit(pkt, dp, HOST_HOP);
}

/** ICMP errors belong to the flow of the packet they quote, and change nothing about it (RFC 5508 REQ-6). */
function forwardIcmpError(pkt: Packet, dp: Dataplane): Verdict {
  let v: Verdict = relateIcmpError(pkt, dp);
  if (v === Verdict.ICMP_ERROR_UNRELATED && pkt.inPort === 0 && pkt.tunnelled === 0 && isOwnAddress(dp.node, pkt.dst)) {
    learnPathMtu(pkt, dp);
    return transmit(pkt, dp, HOST_HOP);
  }
  if (v === Verdict.ICMP_ERROR_UNRELATED && pkt.inPort === 0 && pkt.tunnelled === 0 && isOwnAddress(dp.node, pkt.src)) {
    // Without an overlay the node's kernel routes between pods: it may refuse packets that never reached the pipeline.
    const asker = hopForAddress(dp.node, pkt.dst);
    if (isRoutedByHost(dp, asker)) return transmit(pkt, dp, asker);
  }
  if (v !== Verdict.GO_ON) return v;
  if (!isFromPath(pkt, dp)) return Verdict.ICMP_ERROR_UNRELATED;
  const hop = hopOfFlow(pkt, dp, pkt.direction);
  if (hop === NO_HOP) return Verdict.NO_ROUTE_ANSWERED;
  v = mayLeave(pkt, dp, hop);
  if (v !== Verdict.GO_ON) return v;
  lowerTtl(pkt, dp, hop);
  rewriteIcmpError(pkt, dp, hop);
  return transmit(pkt, dp, hop);
}

/**
 * Does an ICMP error come from where the packet that it quotes was sent? Anybody else has only guessed the connection.
 * Toward a pod nothing but the pod itself is on the way; toward another node its pod and the node.
 */
function isFromPath(pkt: Packet, dp: Dataplane): boolean {
  const sentBy = hopOfFlow(pkt, dp, 1 - pkt.direction);
  if (pkt.tunnelled !== 0) {
    return sentBy === pkt.tunnelNode && (isFromFarEnd(pkt, dp) || isFirstOfRoute(dp.node, pkt.src));
  }
  if (pkt.inPort !== 0) return sentBy === pkt.inPort;
  // The node's kernel answers for what it forwards, and for its own addresses.
  return sentBy === HOST_HOP || isRoutedByHost(dp, sentBy) || isOwnAddress(dp.node, pkt.src);
}

/** Was a frame that is not for the gateway sent to the MAC of the pod that has its IP destination? */
function switchedTo(pkt: Packet, dp: Dataplane, hop: number): boolean {
  const { view, start } = pkt;
  const { hops } = dp.node;
  const at = hopAt(hop);
  return (
    hops[at + HopWord.KIND] === HopKind.POD &&
    isDestinationMac(view, start, hops[at + HopWord.MAC_HIGH], hops[at + HopWord.MAC_LOW])
  );
}

/** Send the reply this verdict requires, if any; returns the verdict to count. */
function settle(pkt: Packet, dp: Dataplane, verdict: Verdict): Verdict {
  const kind = REPLY_KIND[verdict];
  if (kind === ReplyKind.NONE) return verdict;
  if (kind === ReplyKind.ARP_REPLY) {
    countOut(dp.counters, pkt.outPort, pkt.end - pkt.start);
    dp.emitter.emit(pkt);
    return verdict;
  }
  return makeReply(pkt, dp, verdict, kind) ? sendBack(pkt, dp, verdict) : (UNANSWERED[verdict] as Verdict);
}

/** Turn the packet into the reply of the verdict's row. False when policy forbids it (stages/answer.ts). */
function makeReply(pkt: Packet, dp: Dataplane, verdict: Verdict, kind: number): boolean {
  if (kind === ReplyKind.ECHO_REPLY) return answerEcho(pkt);
  const asClosedPort = kind === ReplyKind.AS_CLOSED_PORT;
  if (kind === ReplyKind.TCP_RESET || (asClosedPort && pkt.protocol === PROTOCOL_TCP)) return answerReset(pkt, dp);
  const mtu = verdict === Verdict.FRAGMENTATION_NEEDED ? pkt.linkMtu : 0;
  return answerIcmpError(pkt, dp, REPLY_ERROR[verdict], mtu, asClosedPort);
}

/** Send a reply back the way the packet came. */
function sendBack(pkt: Packet, dp: Dataplane, verdict: Verdict): Verdict {
  const hop = pkt.tunnelled !== 0 ? pkt.tunnelNode : pkt.inPort;
  pkt.routed = 1;
  if (hopKind(dp.node, hop) === HopKind.NONE) return Verdict.PORT_DOWN;
  transmit(pkt, dp, hop);
  return verdict;
}
