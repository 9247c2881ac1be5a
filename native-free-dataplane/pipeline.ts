/**
 * The path of a packet through a node, top to bottom. Read this file first; every step is a function in stages/, and
 * docs/glossary.md explains the terms (hop, flow, dp0, verdict).
 *
 *     frame ─► parse ─► from another node? decapsulate, parse again ─► guard ─► find the flow
 *                                                                                   │
 *              first packet:  service ─► route ─► policy ─► create the flow  ◄──────┤
 *                                                                                   ▼
 *                             next hop ─► TTL, MTU ─► track ─► translate ─► send, encapsulated if to another node
 *
 * What Kubernetes asks of a network, and where it happens:
 *   - Every pod can reach every other pod at that pod's own address, on whatever node it runs. `hopForAddress` finds the
 *     next hop: a pod of this node, another node (through the overlay), or this node's kernel for everything else.
 *   - A service address belongs to no device. `chooseService` picks one of the service's endpoints and the destination
 *     is translated to it (DNAT), as kube-proxy does; in replies the source is translated back to the service address.
 *   - The source is translated too (masquerade) if the reply would not come back through this node otherwise:
 *     `needsMasquerade` for routing reasons, stages/service.ts for reasons of the service.
 *   - A pod can send only from its own address, and a node only for its own pods: `guard`, `checkInner`.
 *
 * A flow is one tracked connection (conntrack/). Its first packet makes all of these decisions and stores them; every
 * later packet, in either direction, finds translation and next hop with one look-up and reads no service, policy or
 * route.
 *
 * Two fields of the descriptor show where a packet comes from:
 *   inPort ≠ 0                  a pod of this node; inPort is its TAP
 *   inPort = 0, tunnelled = 1   another node, through the overlay
 *   inPort = 0, tunnelled = 0   this node's kernel, through dp0 (`fromHost` below): a process on the node, or a packet
 *                               from outside the cluster, such as a NodePort client or a reply to a masqueraded
 *                               connection
 *
 * Each step returns GO_ON, or the verdict that ends the packet (verdicts.ts). If that verdict requires a reply (a TCP
 * reset, an ICMP error, an echo reply), `settle` sends it (settle.ts). All checks that can drop a packet come before its
 * flow is created or updated, so a dropped packet changes no table.
 */
import { expireFollower } from './conntrack/events.ts';
import { flushRecord } from './conntrack/flushed.ts';
import { expireRecords, isBehind } from './conntrack/lifetime.ts';
import { removeRecord } from './conntrack/tuple-index.ts';
import type { Dataplane } from './dataplane.ts';
import { countUnseenDrop } from './drops/ring.ts';
import { Budget, chargeBudget, isInBudget } from './node/budgets.ts';
import { inNetwork, NodeWord } from './node/config.ts';
import { DENIED_EGRESS, DENIED_INGRESS, HOST_HOP, HopKind, hopKind, localHop, NO_HOP } from './node/hops.ts';
import { isOwnAddress } from './node/host-routes.ts';
import { isFirstOfRoute } from './node/routes.ts';
import { combineEcn } from './overlay/ecn.ts';
import { isRoutedByHost, isTunnelPacket, overlayOf } from './overlay/overlay.ts';
import { GSO_UDP_L4, type Packet } from './packet.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP } from './protocols.ts';
import { findFrontend } from './services/table.ts';
import { settle } from './settle.ts';
import { isLinkLocal, sameAddress } from './shared/address.ts';
import { countIn, countVerdict } from './shared/counters.ts';
import { createFlow, mayConnect } from './stages/connect.ts';
import { countFlow, findFlow, reopensFlow, trackFlow } from './stages/flow.ts';
import { expireHeld, forgetFirst, inheritPorts, isFragment, nextHeld, recordFragment } from './stages/fragment.ts';
import { isEchoRequest } from './stages/gateway-icmp.ts';
import { answersDhcp, claimsPodSource, guard, reachesTunnelEndpoint, sendsToTunnelEndpoint } from './stages/guard.ts';
import {
  Inside,
  isFromFarEnd,
  isIcmpError,
  lookInside,
  relateIcmpError,
  rewriteIcmpError,
  wasQuotedSent,
} from './stages/icmp-error.ts';
import { isSentToMacOf } from './stages/link-header.ts';
import { clampMss } from './stages/mss.ts';
import { rewrite } from './stages/nat.ts';
import { answerArp } from './stages/neighbour.ts';
import { checkFlowPolicy, checkNetworkPolicy } from './stages/network-policy.ts';
import { offloadFits } from './stages/offload.ts';
import { releaseIdentifier } from './stages/own-ping.ts';
import { FAMILY_ARP, parseFrame } from './stages/parse.ts';
import { learnPathMtu, quotedInner, reportedHop } from './stages/path-mtu.ts';
import { checkPolicy } from './stages/policy.ts';
import { Resumed, resumeFlow } from './stages/resume.ts';
import { denyFlow, hopForAddress, hopOfFlow, isRouteStale, routeAgain } from './stages/route.ts';
import { chooseService, noteChoice } from './stages/service.ts';
import { chargeLimits, expiresHere, lowerTtl, mayLeave } from './stages/ttl-mtu.ts';
import { nextOfTrain, openTrain } from './train.ts';
import { transmit } from './transmit.ts';
import { Verdict } from './verdicts.ts';
import { ecn } from './wire/ip.ts';

/**
 * Process one received frame: forward it, answer it or drop it. Never throws, whatever bytes it holds.
 * @param pkt reset to the frame (Packet.reset), with its offload fields filled in
 * @param nowMs monotonic milliseconds; one value per batch of frames
 * @returns the frame's verdict, already counted unless it is FRAGMENT_HELD; of a train (train.ts), its last packet's
 */
export function processFrame(pkt: Packet, dp: Dataplane, nowMs: number): Verdict {
  dp.nowMs = nowMs;
  countIn(dp.counters, pkt.inPort, pkt.end - pkt.start);
  const isTrain = pkt.gsoType === GSO_UDP_L4 && pkt.inPort === 0 && openTrain(pkt, dp);
  let verdict = processPacket(pkt, dp);
  while (isTrain && nextOfTrain(pkt)) verdict = processPacket(pkt, dp);
  while (nextHeld(pkt, dp)) processPacket(pkt, dp);
  return verdict;
}

/** Process one packet, and count its verdict. A held fragment's is counted when it is released or given up. */
function processPacket(pkt: Packet, dp: Dataplane): Verdict {
  const verdict = settle(pkt, dp, receive(pkt, dp));
  if (verdict !== Verdict.FRAGMENT_HELD) countVerdict(dp.counters, verdict);
  return verdict;
}

/**
 * Periodic work: expire connections, event followers and held fragments.
 * @returns milliseconds until the next call: 1000, or 1 while connections that are due remain
 */
export function tick(dp: Dataplane, nowMs: number): number {
  dp.nowMs = nowMs;
  expireRecords(dp.conntrack, dp.worker, nowMs);
  const { unanswered } = dp.conntrack;
  for (; unanswered[0] > 0; unanswered[0]--) countUnseenDrop(dp.counters, Verdict.PING_UNANSWERED, nowMs);
  expireFollower(dp.conntrack, nowMs);
  expireHeld(dp);
  return isBehind(dp.conntrack, dp.worker, nowMs) ? 1 : 1000;
}

/** Parse and check a received frame, taking it out of the overlay if it came from another node. */
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
  if (claimsPodSource(pkt, dp)) return Verdict.SPOOFED_SOURCE_IP;
  return offloadFits(pkt) ? forward(pkt, dp) : Verdict.OFFLOAD_INVALID;
}

/** Find or create the flow of a valid packet, translate the packet and send it to its next hop. */
function forward(pkt: Packet, dp: Dataplane): Verdict {
  let v: Verdict = Verdict.GO_ON;
  if (pkt.protocol === PROTOCOL_ICMP) {
    if (isIcmpError(pkt)) return forwardIcmpError(pkt, dp);
    if (isOwnPing(pkt, dp)) return noteOwnPing(pkt, dp);
  }
  if (pkt.fragmentOffset !== 0) {
    v = inheritPorts(pkt, dp, !expiresHere(pkt) || mayEndHere(pkt, dp));
    if (v !== Verdict.GO_ON) return v;
  }

  findFlow(pkt, dp);
  if (sendsToTunnelEndpoint(pkt, dp)) return Verdict.OVERLAY_FROM_POD;
  const resumed = pkt.flow >= 0 ? Resumed.NOT : resumeFlow(pkt, dp);
  let known = pkt.flow >= 0 && !reopensFlow(pkt, dp);
  if (!known) {
    v = connect(pkt, dp);
    if (v !== Verdict.GO_ON) return v;
    // Another worker created the flow first. This packet is then a later packet of that flow, possibly a reply.
    known = pkt.joined !== 0;
  }
  const hop = nextHop(pkt, dp, pkt.direction);
  if (known) {
    v = continueFlow(pkt, dp, hop);
    if (v !== Verdict.GO_ON && resumed === Resumed.HERE) flushRecord(dp.conntrack, pkt.flow);
    if (v !== Verdict.GO_ON) return v;
  }
  lowerTtl(pkt, dp, hop);
  if (!rewrite(pkt, dp)) return Verdict.CONNTRACK_INVALID;
  countFlow(pkt, dp);
  if (pkt.limited !== 0) chargeLimits(pkt, dp, hop);
  clampMss(pkt, dp, hop);
  return transmit(pkt, dp, hop);
}

/** Is the packet a copy of an echo request that the node itself sends past the pipeline? No other one comes from dp0. */
function isOwnPing(pkt: Packet, { node, services }: Dataplane): boolean {
  if (pkt.inPort !== 0 || pkt.tunnelled !== 0 || !isEchoRequest(pkt) || !isOwnAddress(node, pkt.src)) return false;
  return hopForAddress(node, pkt.dst) === HOST_HOP && findFrontend(services, pkt.dst, 0) < 0;
}

/** Track the node's own ping, so that its replies are the node's (stages/own-ping.ts). The copy goes no further. */
function noteOwnPing(pkt: Packet, dp: Dataplane): Verdict {
  findFlow(pkt, dp);
  if (pkt.flow >= 0) trackFlow(pkt, dp);
  else {
    releaseIdentifier(pkt, dp);
    createFlow(pkt, dp, HOST_HOP, localHop(dp.node));
  }
  if (pkt.flow >= 0) countFlow(pkt, dp);
  return Verdict.OWN_PING;
}

/** May the packet be delivered to the node's own sockets, for which its TTL does not count? */
function mayEndHere({ dst }: Packet, { node }: Dataplane): boolean {
  const { config } = node;
  return isOwnAddress(node, dst) || inNetwork(config, NodeWord.SERVICE_CIDR, config[NodeWord.SERVICE_CIDR_PREFIX], dst);
}

/**
 * Check a packet of a known flow against its next hop, then update the state of the connection. Tracking comes last,
 * because a packet that is dropped must neither change the state nor the lifetime of its connection. Otherwise an
 * attacker could close the connection on this node alone, by a reset whose TTL expires before it reaches the receiver.
 */
function continueFlow(pkt: Packet, dp: Dataplane, hop: number): Verdict {
  if (hop < 0) return whyNoHop(pkt, hop);
  let v = mayLeave(pkt, dp, hop);
  if (v !== Verdict.GO_ON) return v;
  // A flow that another worker created first: this fragment was recorded when connect tried to.
  if (isFragment(pkt) && pkt.joined === 0) {
    v = recordFragment(pkt, dp);
    if (v !== Verdict.GO_ON) return v;
  }
  v = trackFlow(pkt, dp);
  if (v !== Verdict.GO_ON && pkt.moreFragments !== 0) forgetFirst(pkt, dp);
  return v;
}

/**
 * Next hop of the packet's flow. The flow stores it until routes, hops or policies change, so that an established packet
 * asks none of them; its first packet after a change repeats the look-ups and is judged again.
 * @param direction of the packets that travel by it: 0 original, 1 reply
 * @returns hop number, or what whyNoHop explains
 */
function nextHop(pkt: Packet, dp: Dataplane, direction: number): number {
  if (isRouteStale(pkt, dp)) {
    routeAgain(pkt, dp);
    const hop = hopOfFlow(pkt, dp, 0);
    const replyHop = hopOfFlow(pkt, dp, 1);
    if (hop >= 0 && replyHop >= 0) {
      const v = checkFlowPolicy(pkt, dp, hop, replyHop);
      if (v !== Verdict.GO_ON) denyFlow(pkt, dp, v === Verdict.POLICY_EGRESS ? DENIED_EGRESS : DENIED_INGRESS);
    }
  }
  return hopOfFlow(pkt, dp, direction);
}

/** Why a packet of a known flow goes nowhere. @param hop negative: NO_HOP, or a policy's denial */
function whyNoHop(pkt: Packet, hop: number): Verdict {
  if (hop === DENIED_EGRESS) return Verdict.POLICY_EGRESS;
  if (hop === DENIED_INGRESS) return Verdict.POLICY_INGRESS;
  return pkt.protocol === PROTOCOL_TCP ? Verdict.ENDPOINT_GONE : Verdict.NO_ROUTE_ANSWERED;
}

/**
 * Create the flow of a connection's first packet. Services, routes and policy are read nowhere else.
 * @returns GO_ON with pkt.flow set, or the verdict that ends the packet
 */
function connect(pkt: Packet, dp: Dataplane): Verdict {
  const { node } = dp;
  const fromHost = pkt.inPort === 0 && pkt.tunnelled === 0;
  let v: Verdict = mayConnect(pkt);
  // An unsolicited ICMP reply may belong to a query sent by the node itself.
  if (v !== Verdict.GO_ON) return fromHost && isOwnAddress(node, pkt.dst) ? handToHost(pkt, dp) : v;
  if (answersDhcp(pkt)) return Verdict.DHCP_FROM_POD;
  if (!fromHost && isEchoRequest(pkt) && sameAddress(pkt.dst, node.config, NodeWord.GATEWAY_IP))
    return Verdict.PING_ANSWERED;

  // Service: if the destination is one, choose the endpoint. From here on the packet is judged by its new destination.
  v = chooseService(pkt, dp);
  if (v !== Verdict.GO_ON) return v;
  // An endpoint can be another node's VXLAN port, where the packet would pass for overlay traffic from this node.
  if (pkt.dnat !== 0 && reachesTunnelEndpoint(dp, pkt.protocol, pkt.newDst, pkt.newDstPort))
    return Verdict.OVERLAY_FROM_POD;
  // Route.
  const target = pkt.dnat !== 0 ? pkt.newDst : pkt.dst;
  const hop = hopForAddress(node, target);
  if (hop === NO_HOP) return Verdict.NO_ROUTE_ANSWERED;
  const kind = hopKind(node, hop);
  // From the node's kernel and back to it, with nothing to translate. For the node's own sockets: give it back (a ping
  // of the node, a reply to a connection of the node's). For anywhere else: it should not have been routed to dp0.
  if (kind === HopKind.LOCAL && fromHost && pkt.dnat === 0) return handToHost(pkt, dp);
  if (kind === HopKind.HOST && fromHost && pkt.dnat === 0) return Verdict.NOT_FOR_US;
  if (kind === HopKind.HOST && isLinkLocal(target) && node.config[NodeWord.FORWARD_LINK_LOCAL] === 0) {
    return Verdict.LINK_LOCAL_DESTINATION;
  }
  if (pkt.routed === 0 && !fromHost && pkt.dnat === 0 && !isSentToMacOf(pkt, dp, hop))
    return Verdict.DESTINATION_MAC_FOREIGN;
  v = mayLeave(pkt, dp, hop);
  if (v !== Verdict.GO_ON) return v;
  // Policy, which sees the packet as the endpoint will receive it, but with its original source.
  v = checkPolicy(pkt, dp, hop);
  if (v !== Verdict.GO_ON) return v;
  if (needsMasquerade(pkt, dp, kind)) pkt.masquerade = 1;

  // The flow, with the hops of both directions.
  const replyHop = hopForAddress(node, pkt.src);
  if (replyHop === NO_HOP) return Verdict.NO_ROUTE_BACK;
  v = checkNetworkPolicy(pkt, dp, hop, replyHop);
  if (v !== Verdict.GO_ON) return v;
  if (pkt.limited !== 0 && !isInBudget(node, pkt.inPort, Budget.CONNECTIONS, dp.nowMs)) return Verdict.CONNECTION_RATE;
  if (isFragment(pkt)) {
    v = recordFragment(pkt, dp);
    if (v !== Verdict.GO_ON) return v;
  }
  // A closed connection with the same tuple (reopensFlow) has to be removed before the new one can be inserted. All
  // checks come before this; createFlow can still fail if the table is full or no source port is free.
  if (pkt.flow >= 0) removeRecord(dp.conntrack, pkt.flow);
  v = createFlow(pkt, dp, hop, replyHop);
  if (v === Verdict.GO_ON) {
    if (pkt.limited !== 0) chargeBudget(node, pkt.inPort, Budget.CONNECTIONS, dp.nowMs);
    noteChoice(pkt, dp);
  } else if (pkt.moreFragments !== 0) forgetFirst(pkt, dp);
  return v;
}

/**
 * Must the source be masqueraded because replies to it would not come back through this node? Masquerading that a
 * service requires is decided in stages/service.ts.
 * @param kind of the hop that the packet leaves by
 */
function needsMasquerade(pkt: Packet, dp: Dataplane, kind: number): boolean {
  const { node } = dp;
  const fromHost = pkt.inPort === 0 && pkt.tunnelled === 0;
  // Another node has overlay routes to this node's pods and gateway only. It would reply to any other source without
  // the overlay (flannel pkg/trafficmngr/iptables: "! -s cluster -d cluster -j MASQUERADE").
  if (kind === HopKind.NODE) return fromHost && !sameAddress(pkt.src, node.config, NodeWord.GATEWAY_IP);
  // The node's sockets would reply to a source on the same node directly, not through dp0.
  if (kind === HopKind.LOCAL) return fromHost;
  // The outside has no route to pods. Replies to the node's own sockets go to these directly, not through dp0.
  if (kind === HopKind.HOST) return fromHost ? isOwnAddress(node, pkt.src) : pkt.inPort !== 0;
  return false;
}

/** Return the packet to the node's kernel unchanged, without a flow. Its later fragments are returned as well. */
function handToHost(pkt: Packet, dp: Dataplane): Verdict {
  if (isFragment(pkt)) {
    const v = recordFragment(pkt, dp);
    if (v !== Verdict.GO_ON) return v;
  }
  return transmit(pkt, dp, HOST_HOP);
}

/**
 * An ICMP error belongs to the flow of the packet that it quotes, and does not change that flow (RFC 5508 REQ-6).
 * Errors about connections of the node itself go to its kernel.
 */
function forwardIcmpError(pkt: Packet, dp: Dataplane): Verdict {
  let v: Verdict = relateIcmpError(pkt, dp);
  if (v === Verdict.ICMP_ERROR_UNRELATED && pkt.inPort === 0 && pkt.tunnelled === 0 && isOwnAddress(dp.node, pkt.dst)) {
    v = acceptPathMtu(pkt, dp);
    return v === Verdict.GO_ON ? transmit(pkt, dp, HOST_HOP) : v;
  }
  if (v === Verdict.ICMP_ERROR_UNRELATED && pkt.inPort === 0 && pkt.tunnelled === 0 && isOwnAddress(dp.node, pkt.src)) {
    // Without a tunnel the node's kernel routes packets between nodes, so it can send an error about a packet that never
    // reached the pipeline.
    const sender = hopForAddress(dp.node, pkt.dst);
    if (isRoutedByHost(dp, sender)) return transmit(pkt, dp, sender);
  }
  if (v !== Verdict.GO_ON) return v;
  if (!isFromPath(pkt, dp)) return Verdict.ICMP_ERROR_UNRELATED;
  if (!wasQuotedSent(pkt, dp)) return Verdict.ICMP_ERROR_NOT_SENT;
  const hop = nextHop(pkt, dp, pkt.direction);
  if (hop < 0) return hop === NO_HOP ? Verdict.NO_ROUTE_ANSWERED : whyNoHop(pkt, hop);
  v = mayLeave(pkt, dp, hop);
  if (v !== Verdict.GO_ON) return v;
  if (pkt.limited !== 0) chargeLimits(pkt, dp, hop);
  lowerTtl(pkt, dp, hop);
  rewriteIcmpError(pkt, dp, hop);
  return transmit(pkt, dp, hop);
}

/**
 * A report of the MTU between this node and another applies to all traffic between them, so the overlay packet that it
 * quotes must have been sent (RFC 5927 §7). Every other error goes on.
 */
function acceptPathMtu(pkt: Packet, dp: Dataplane): Verdict {
  const hop = reportedHop(pkt, dp);
  if (hop === NO_HOP) return Verdict.GO_ON;
  const inside = lookInside(pkt, dp, quotedInner(pkt, dp));
  const verified = inside === Inside.SENT && nextHop(pkt, dp, 1 - pkt.direction) === hop;
  if (inside !== Inside.UNKNOWN && !verified) return Verdict.ICMP_ERROR_NOT_SENT;
  learnPathMtu(pkt, dp, hop, verified);
  return Verdict.GO_ON;
}

/**
 * Does an ICMP error come from a host on the path of the packet that it quotes? Any other sender has guessed the
 * connection. The path to a pod of this node is the pod itself; the path to a pod of another node is that node and that
 * pod.
 */
function isFromPath(pkt: Packet, dp: Dataplane): boolean {
  const sentBy = nextHop(pkt, dp, 1 - pkt.direction);
  if (pkt.tunnelled !== 0) {
    return sentBy === pkt.tunnelNode && (isFromFarEnd(pkt, dp) || isFirstOfRoute(dp.node, pkt.src));
  }
  if (pkt.inPort !== 0) return sentBy === pkt.inPort;
  // The node's kernel sends errors about packets that it forwards, and about its own addresses.
  return sentBy === HOST_HOP || isRoutedByHost(dp, sentBy) || isOwnAddress(dp.node, pkt.src);
}
