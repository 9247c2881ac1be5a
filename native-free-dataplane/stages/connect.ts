/**
 * The first packet of a connection: the record is made here, with everything later packets need. The service, the
 * policy and the route have been asked (pipeline.ts); what is left is the pair of tuples, and that nobody else has
 * them.
 *
 * Read before editing: linux net/netfilter/nf_nat_core.c get_unique_tuple, nf_conntrack_core.c
 * __nf_conntrack_confirm; RFC 4787 §4.2 (port assignment), RFC 5508 REQ-8 (nothing free).
 */

import { allocateRecord, freeRecord, scheduleRecord } from '../conntrack/lifetime.ts';
import { hashSource, noteMapping } from '../conntrack/mappings.ts';
import { Rec, recordAt, Setting, Status } from '../conntrack/record.ts';
import { findPort, portRequest } from '../conntrack/snat-ports.ts';
import { Kind, segment } from '../conntrack/tcp/segment.ts';
import { TcpResult, tcpNew, tcpTimeoutClass } from '../conntrack/tcp/tracker.ts';
import { TimeoutClass } from '../conntrack/timeouts.ts';
import { tuplePortsAt, writeTuple } from '../conntrack/tuple.ts';
import { InsertResult, insertRecord, tupleInUse } from '../conntrack/tuple-index.ts';
import type { Dataplane } from '../dataplane.ts';
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

/** How often a lost race for a source port is tried again before the packet is given up. */
const MAX_RACES = 8;
/** So long after its first packet an answered UDP connection is a stream (linux nf_conntrack_proto_udp.c stream_ts). */
const STREAM_AFTER_MS = 2000;
/** Source of a masqueraded connection; filled by sourceAfter, used until createFlow returns. */
const masqueradeSource: Int32Array = new Int32Array(ADDRESS_WORDS);

/** May a packet like this begin a connection? An ICMP answer to nothing may not (linux icmp_new). */
export function mayConnect(pkt: Packet): Verdict {
  if (pkt.protocol !== PROTOCOL_ICMP) return Verdict.GO_ON;
  return isIcmpRequest(pkt.icmpType) ? Verdict.GO_ON : Verdict.CONNTRACK_INVALID;
}

/**
 * Make the flow of a first packet, from the decisions on the descriptor (dnat, newDst, newDstPort, masquerade).
 * @param hop where original packets go; @param replyHop where replies go
 * @returns GO_ON with pkt.flow set (maybe another worker's, which won the race: pkt.joined), or why it cannot be
 */
export function createFlow(pkt: Packet, dp: Dataplane, hop: number, replyHop: number): Verdict {
  const { conntrack, node, nowMs } = dp;
  const { words } = conntrack;
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
  const target = pkt.dnat ? pkt.newDst : pkt.dst;
  const targetPort = pkt.dnat ? pkt.newDstPort : pkt.dstPort;
  const source = sourceAfter(pkt, dp, hop);
  writeTuple(conntrack, words, original, pkt.src, pkt.dst, (pkt.srcPort << 16) | pkt.dstPort);
  writeTuple(conntrack, words, reply, target, source, (targetPort << 16) | pkt.srcPort);
  const isDnat = targetPort !== pkt.dstPort || !sameAddress(target, pkt.dst, 0);
  // Also when the source stays: a node's own connection to its NodePort has the node's address before and after, and only
  // a port of the masqueraded ones brings the reply back here.
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
      // Another worker made this very connection a moment ago: its choice counts (linux nf_ct_resolve_clash).
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
  return Verdict.REJECTED_PROHIBITED;
}

/** First state and life time of the connection. */
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
 * Source address after translation: the gateway toward pods, the node's address of the device it leaves by toward the
 * outside, else as it was. An endpoint
 * in the node's own namespace would answer another address of the node without asking us, so toward it stands the
 * service network's first address, which no service has and which is routed to dp0.
 */
function sourceAfter(pkt: Packet, dp: Dataplane, hop: number): Int32Array {
  if (!pkt.masquerade) return pkt.src;
  const { node } = dp;
  if (hop === HOST_HOP) readSource(node, pkt.dnat ? pkt.newDst : pkt.dst, masqueradeSource);
  else {
    const word = hopKind(node, hop) === HopKind.LOCAL ? NodeWord.SERVICE_CIDR : NodeWord.GATEWAY_IP;
    copyAddress(node.config, word, masqueradeSource);
  }
  return masqueradeSource;
}

/** Find a source port (or identifier) for the connection at word `at`; false when there is none. */
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
  return findPort(conntrack, at);
}

/**
 * Which ports will do: of the original's class (linux nf_nat_l4proto_unique_tuple; RFC 4787 REQ-3a). The node's address
 * has to be shared with the node's own sockets: only some ports of it come back to dp0 (docs/semantics.md), and none
 * below 600, where a node's services are.
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
