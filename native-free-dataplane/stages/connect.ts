/**
 * Creating a flow: the record of a new connection, with everything that later packets need. Service, route and policy
 * have been decided (pipeline.ts); what remains is to fill in both tuples, to find a source port that makes the reply
 * tuple unique, and to insert the record.
 *
 * Read before editing: linux net/netfilter/nf_nat_core.c get_unique_tuple, nf_conntrack_core.c
 * __nf_conntrack_confirm; RFC 4787 §4.2 (port assignment), RFC 5508 REQ-8 (nothing free).
 */
import { allocateRecord, freeRecord, mayHaveRecord, scheduleRecord } from '../conntrack/lifetime.ts';
import { hashSource, noteMapping } from '../conntrack/mappings.ts';
import { Rec, recordAt, Setting, Status } from '../conntrack/record.ts';
import { accountOf } from '../conntrack/shares.ts';
import { findPort, noteRefused, portRequest } from '../conntrack/snat-ports.ts';
import { Kind, segment } from '../conntrack/tcp/segment.ts';
import { TcpResult, tcpNew, tcpTimeoutClass } from '../conntrack/tcp/tracker.ts';
import { TimeoutClass } from '../conntrack/timeouts.ts';
import { tuplePortsAt, writeTuple } from '../conntrack/tuple.ts';
import { InsertResult, insertRecord, tupleInUse } from '../conntrack/tuple-index.ts';
import type { Dataplane } from '../dataplane.ts';
import { noteNoSourcePort, noteShareUsed } from '../node/budgets.ts';
import { NodeWord, PRIVILEGED_PORTS, routeGeneration } from '../node/config.ts';
import { HOST_HOP, HopKind, hopKind } from '../node/hops.ts';
import { readSource } from '../node/host-routes.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import { ADDRESS_WORDS, copyAddress, sameAddress } from '../shared/address.ts';
import { Verdict } from '../verdicts.ts';
import { isIcmpRequest } from '../wire/icmp.ts';
import { hasPorts } from '../wire/ports.ts';
import { readTcpSegment } from '../wire/tcp.ts';

/** Attempts to insert when another worker takes the chosen source port first. */
const MAX_RACES = 8;
/** Age from which an answered UDP connection counts as a stream (linux nf_conntrack_proto_udp.c stream_ts). */
const STREAM_AFTER_MS = 2000;
/** Source of a masqueraded connection; filled by translatedSource, used until createFlow returns. */
const masqueradeSource: Int32Array = new Int32Array(ADDRESS_WORDS);

/** May this packet begin a connection? Every packet but an unsolicited ICMP reply may (linux icmp_new). */
export function mayConnect(pkt: Packet): Verdict {
  if (pkt.protocol !== PROTOCOL_ICMP) return Verdict.GO_ON;
  return isIcmpRequest(pkt.icmpType) ? Verdict.GO_ON : Verdict.CONNTRACK_INVALID;
}

/**
 * Create the flow of a first packet from the decisions in its descriptor (dnat, newDst, newDstPort, masquerade).
 * @param hop next hop of original packets
 * @param replyHop next hop of replies
 * @returns GO_ON with pkt.flow set; pkt.joined is 1 if another worker created the flow first and this packet uses it.
 *   Otherwise CONNTRACK_SHARE, CONNTRACK_FULL, CONNTRACK_INVALID (TCP flags), or REJECTED_PROHIBITED if no source port is free.
 */
export function createFlow(pkt: Packet, dp: Dataplane, hop: number, replyHop: number): Verdict {
  const { conntrack, node, nowMs } = dp;
  const { words } = conntrack;
  const target = pkt.dnat ? pkt.newDst : pkt.dst;
  const account = accountOf(conntrack, pkt.src, target);
  if (!mayHaveRecord(conntrack, account, dp.worker, nowMs)) {
    // Whose account it is: accountOf.
    noteShareUsed(node, hopKind(node, replyHop) === HopKind.POD ? replyHop : hop);
    return Verdict.CONNTRACK_SHARE;
  }
  const record = allocateRecord(conntrack, dp.worker, nowMs);
  if (record < 0) return Verdict.CONNTRACK_FULL;
  const at = recordAt(conntrack, record);
  for (let i = 0; i < Rec.TUPLES; i++) words[at + i] = 0;
  words[at + Rec.META] = pkt.protocol << 16;
  words[at + Rec.ROUTED] = routeGeneration(node);
  words[at + Rec.HOPS] = (hop & 0xffff) | (replyHop << 16);
  words[at + Rec.ENDPOINT] = pkt.endpoint;

  const verdict = startTracking(pkt, dp, at);
  if (verdict !== Verdict.GO_ON) {
    freeRecord(conntrack, record, dp.worker, nowMs);
    return verdict;
  }

  const original = at + Rec.TUPLES;
  const reply = original + conntrack.tupleWords;
  const targetPort = pkt.dnat ? pkt.newDstPort : pkt.dstPort;
  const source = translatedSource(pkt, dp, hop);
  writeTuple(conntrack, words, original, pkt.src, pkt.dst, (pkt.srcPort << 16) | pkt.dstPort);
  writeTuple(conntrack, words, reply, target, source, (targetPort << 16) | pkt.srcPort);
  const isDnat = targetPort !== pkt.dstPort || !sameAddress(target, pkt.dst, 0);
  // A masqueraded connection needs a port of the masquerade range even if its source address stays the same (a node's
  // own connection to its NodePort): only that range is routed back to dp0.
  const isMasquerade = pkt.masquerade !== 0 || !sameAddress(source, pkt.src, 0);

  for (let race = 0; race < MAX_RACES; race++) {
    if (isMasquerade || tupleInUse(conntrack, words, reply, pkt.protocol)) {
      if (!choosePort(pkt, dp, at, hop)) break;
    }
    let status = isDnat ? Status.DNAT : 0;
    const sourcePort = words[tuplePortsAt(conntrack, reply)] & 0xffff;
    if (isMasquerade || sourcePort !== pkt.srcPort) status |= Status.SNAT;
    words[at + Rec.META] = (pkt.protocol << 16) | status;

    const result = insertRecord(conntrack, record, dp.worker);
    if (result === InsertResult.INSERTED) {
      scheduleRecord(conntrack, record, dp.worker, nowMs);
      if (sourcePort !== pkt.srcPort) noteMapping(conntrack, record, portRequest.source);
      pkt.flow = record;
      pkt.direction = 0;
      return Verdict.GO_ON;
    }
    if (result === InsertResult.ORIGINAL_EXISTS) {
      // Another worker has just created the same connection: use its record (linux nf_ct_resolve_clash).
      freeRecord(conntrack, record, dp.worker, nowMs);
      pkt.flow = conntrack.found[0] >> 1;
      pkt.direction = conntrack.found[0] & 1;
      pkt.joined = 1;
      return Verdict.GO_ON;
    }
    if (result === InsertResult.NO_ROOM) {
      freeRecord(conntrack, record, dp.worker, nowMs);
      return Verdict.CONNTRACK_FULL;
    }
  }
  freeRecord(conntrack, record, dp.worker, nowMs);
  noteRefused(conntrack, pkt.src, pkt.dst, (pkt.protocol << 16) | pkt.dstPort);
  noteNoSourcePort(node, replyHop);
  return Verdict.REJECTED_PROHIBITED;
}

/** Set the initial state and timeout of the connection whose record starts at word `at`. */
function startTracking(pkt: Packet, dp: Dataplane, at: number): Verdict {
  const { words } = dp.conntrack;
  let timeout: number = TimeoutClass.GENERIC;
  if (pkt.protocol === PROTOCOL_TCP) {
    readTcpSegment(pkt.view, pkt.l4, pkt.headersEnd, segment);
    segment.direction = 0;
    segment.payloadBytes = pkt.payloadBytes;
    const result = tcpNew(words, at + Rec.TCP, segment, dp.timeouts[Setting.TCP_LOOSE]);
    if (result === TcpResult.INVALID) return Verdict.CONNTRACK_INVALID;
    timeout = tcpTimeoutClass(words, at + Rec.TCP, 0, dp.timeouts);
  } else if (pkt.protocol === PROTOCOL_UDP) {
    timeout = TimeoutClass.UDP;
    words[at + Rec.STREAM_FROM] = (dp.nowMs + STREAM_AFTER_MS) | 0;
  } else if (pkt.protocol === PROTOCOL_ICMP) timeout = TimeoutClass.ICMP;
  words[at + Rec.EXPIRES] = (dp.nowMs + dp.timeouts[timeout] * 1000) | 0;
  return Verdict.GO_ON;
}

/**
 * Source address after translation. Unless the connection is masqueraded, that is the original source. Toward pods it
 * is the gateway; toward the outside it is the node's address on the device that the packet leaves by. A host-network
 * endpoint on this node would reply to any address of the node directly, so toward it the source is the first address
 * of the service network, which no service has and which is routed to dp0.
 * @returns four words, valid until the next call
 */
function translatedSource(pkt: Packet, dp: Dataplane, hop: number): Int32Array {
  if (!pkt.masquerade) return pkt.src;
  const { node } = dp;
  if (hop === HOST_HOP) readSource(node, pkt.dnat ? pkt.newDst : pkt.dst, masqueradeSource);
  else {
    const word = hopKind(node, hop) === HopKind.LOCAL ? NodeWord.SERVICE_CIDR : NodeWord.GATEWAY_IP;
    copyAddress(node.config, word, masqueradeSource);
  }
  return masqueradeSource;
}

/** Choose a source port (ICMP: an identifier) for the connection at word `at`; false if none is free. */
function choosePort(pkt: Packet, dp: Dataplane, at: number, hop: number): boolean {
  const { conntrack } = dp;
  const reply = at + Rec.TUPLES + conntrack.tupleWords;
  if (pkt.protocol !== PROTOCOL_ICMP && !hasPorts(pkt.protocol))
    return !tupleInUse(conntrack, conntrack.words, reply, pkt.protocol);
  choosePortRange(pkt, dp, hop);
  portRequest.source = hashSource(conntrack, pkt.src, pkt.srcPort, pkt.protocol);
  portRequest.sequence = segment.sequence;
  portRequest.evicts = pkt.protocol !== PROTOCOL_TCP || segment.kind === Kind.SYN ? 1 : 0;
  portRequest.nowMs = dp.nowMs;
  portRequest.vxlanPort = pkt.protocol === PROTOCOL_UDP ? dp.node.config[NodeWord.VXLAN_PORT] : -1;
  return findPort(conntrack, at);
}

/**
 * Set the range to choose a port from. A port stays in its class: below 512, 512 to 1023, or above (linux
 * nf_nat_l4proto_unique_tuple; RFC 4787 REQ-3a). The node's addresses are shared with the node's own sockets, so toward
 * the outside only the ports that are routed to dp0 can be used (docs/semantics.md), and none below 600.
 */
function choosePortRange(pkt: Packet, dp: Dataplane, hop: number): void {
  const { config } = dp.node;
  const outside = hop === HOST_HOP && pkt.masquerade !== 0;
  portRequest.ofNode = outside && pkt.protocol !== PROTOCOL_ICMP ? 1 : 0;
  portRequest.low = outside ? config[NodeWord.MASQUERADE_PORT_LOW] : 1024;
  portRequest.high = outside ? config[NodeWord.MASQUERADE_PORT_HIGH] : 65535;
  if (pkt.protocol === PROTOCOL_ICMP) {
    portRequest.low = 0;
    portRequest.high = 65535;
  } else if (pkt.srcPort < 512 && !outside) {
    portRequest.low = 1;
    portRequest.high = 511;
  } else if (pkt.srcPort < 1024 && pkt.srcPort !== 0) {
    portRequest.low = PRIVILEGED_PORTS[0];
    portRequest.high = PRIVILEGED_PORTS[1];
  }
}
