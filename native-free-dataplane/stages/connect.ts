/**
 * The first packet of a connection: the record is made here, with everything later packets need. The service, the
 * policy and the route have been asked (pipeline.ts); what is left is the pair of tuples, and that nobody else has
 * them.
 *
 * Read before editing: linux net/netfilter/nf_nat_core.c get_unique_tuple, nf_conntrack_core.c
 * __nf_conntrack_confirm; RFC 4787 §4.2 (port assignment), RFC 5508 REQ-8 (nothing free).
 */

import { allocateRecord, freeRecord, scheduleRecord } from '../conntrack/lifetime.ts';
import { Rec, recordAt, Setting, Status } from '../conntrack/record.ts';
import { firstFreePort } from '../conntrack/snat-ports.ts';
import { segment } from '../conntrack/tcp/segment.ts';
import { TcpResult, tcpNew, tcpTimeoutClass } from '../conntrack/tcp/tracker.ts';
import { TimeoutClass } from '../conntrack/timeouts.ts';
import { tuplePortsAt, writeTuple } from '../conntrack/tuple.ts';
import { InsertResult, insertRecord, tupleInUse } from '../conntrack/tuple-index.ts';
import { type Dataplane, nextRandom } from '../dataplane.ts';
import { NodeWord, routeGeneration } from '../node/config.ts';
import { HOST_HOP, HopKind, hopKind } from '../node/hops.ts';
import { readSource } from '../node/host-routes.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import { ADDRESS_WORDS, copyAddress, sameAddress } from '../shared/address.ts';
import { hashWord } from '../shared/hash.ts';
import { Verdict } from '../verdicts.ts';
import { isIcmpRequest } from '../wire/icmp.ts';
import { hasPorts } from '../wire/ports.ts';
import { readTcpSegment } from '../wire/tcp.ts';

/** How often a lost race for a source port is tried again before the packet is given up. */
const MAX_RACES = 8;
/** So long after its first packet an answered UDP connection is a stream (linux nf_conntrack_proto_udp.c stream_ts). */
const STREAM_AFTER_MS = 2000;
/** Position in the secret tables of what begins the search for a port; no word of an IPv4 tuple has it. */
const START_POSITION = 8;

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
  const isMasquerade = !sameAddress(source, pkt.src, 0);

  for (let race = 0; race < MAX_RACES; race++) {
    if (isMasquerade || tupleInUse(conntrack, words, reply, pkt.protocol)) {
      if (!choosePort(pkt, dp, reply, hop)) break;
    }
    let status = isDnat ? Status.DNAT : 0;
    const sourcePort = words[tuplePortsAt(conntrack, reply)] & 0xffff;
    if (isMasquerade || sourcePort !== pkt.srcPort) status |= Status.SNAT;
    words[at + Rec.META] = (pkt.protocol << 16) | status;

    const result = insertRecord(conntrack, record, dp.worker);
    if (result === InsertResult.INSERTED) {
      scheduleRecord(conntrack, record, dp.worker, nowMs);
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

/** Find a free source port (or identifier) for the reply tuple at words[reply]; false when there is none. */
function choosePort(pkt: Packet, dp: Dataplane, reply: number, hop: number): boolean {
  const { config } = dp.node;
  let low = 1024;
  let high = 65535;
  if (pkt.protocol === PROTOCOL_ICMP) low = 0;
  else if (!hasPorts(pkt.protocol)) {
    return !tupleInUse(dp.conntrack, dp.conntrack.words, reply, pkt.protocol);
  } else if (hop === HOST_HOP && pkt.masquerade) {
    // Only these ports of the node's address come back to dp0; the node's own sockets keep off them.
    low = config[NodeWord.MASQUERADE_PORT_LOW];
    high = config[NodeWord.MASQUERADE_PORT_HIGH];
  } else if (pkt.srcPort < 512) {
    low = 1;
    high = 511;
  } else if (pkt.srcPort < 1024) {
    low = 600;
    high = 1023;
  }
  // Random numbers that somebody has seen tell the next ones; through the node's secret they tell nothing (RFC 6056 §3.3).
  const start = hashWord(dp.conntrack.hash, START_POSITION, nextRandom(dp));
  // A lost race may have left another port there.
  const { words } = dp.conntrack;
  const ports = tuplePortsAt(dp.conntrack, reply);
  words[ports] = (words[ports] & ~0xffff) | pkt.srcPort;
  return firstFreePort(dp.conntrack, reply, pkt.protocol, low, high, start);
}
