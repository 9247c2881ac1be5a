/**
 * Which connection does the packet belong to, and does it fit there? One look-up, then the tracker's opinion.
 *
 * An established packet reads its record and nothing else of the cluster: services, policy and routes were consulted
 * when the record was made. What does not fit its connection is INVALID and dropped, never passed on un-NATed
 * (kubernetes #74839: the endpoint would answer with a reset into a healthy connection).
 */

import { EventKind, isFollowed, publishEvent } from '../conntrack/events.ts';
import { LOCK_MASK, Rec, recordAt, Setting, Status } from '../conntrack/record.ts';
import { segment } from '../conntrack/tcp/segment.ts';
import {
  TcpResult,
  tcpAssured,
  tcpFragment,
  tcpPacket,
  tcpReopens,
  tcpState,
  tcpTimeoutClass,
} from '../conntrack/tcp/tracker.ts';
import { TimeoutClass } from '../conntrack/timeouts.ts';
import { writeKey } from '../conntrack/tuple.ts';
import { findTuple, hashTuple, removeRecord } from '../conntrack/tuple-index.ts';
import type { Dataplane } from '../dataplane.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import { countEndpointPacket } from '../services/table.ts';
import { lock, unlock } from '../shared/spin-lock.ts';
import { Verdict } from '../verdicts.ts';
import { readTcpSegment } from '../wire/tcp.ts';

/**
 * Find the packet's flow: pkt.flow and pkt.direction, or pkt.flow = -1. pkt.hash is set either way.
 * An entry past its time is taken away here, so that it never answers for a new connection.
 */
export function findFlow(pkt: Packet, dp: Dataplane): void {
  const { conntrack } = dp;
  const { key, words } = conntrack;
  writeKey(conntrack, pkt.src, pkt.dst, (pkt.srcPort << 16) | pkt.dstPort, pkt.tupleKind);
  pkt.hash = hashTuple(conntrack, key, 0, pkt.tupleKind);
  const reference = findTuple(conntrack, pkt.hash);
  if (reference < 0) {
    pkt.flow = -1;
    return;
  }
  const record = reference >> 1;
  if (((words[recordAt(conntrack, record) + Rec.EXPIRES] - (dp.nowMs | 0)) | 0) <= 0) {
    removeRecord(conntrack, record);
    pkt.flow = -1;
    return;
  }
  pkt.flow = record;
  pkt.direction = reference & 1;
}

/** Does the packet open another connection, its flow being over? The flow stays as it is until the other one is made. */
export function opensAnother(pkt: Packet, dp: Dataplane): boolean {
  if (pkt.protocol !== PROTOCOL_TCP || pkt.fragmentOffset !== 0) return false;
  const { conntrack } = dp;
  return tcpReopens(conntrack.words, recordAt(conntrack, pkt.flow) + Rec.TCP, pkt.direction, pkt.tcpFlags);
}

/** Let the packet of a known flow move its state on: GO_ON, or the reason it does not belong. */
export function trackFlow(pkt: Packet, dp: Dataplane): Verdict {
  return isFollowed(dp.conntrack) ? trackAndTell(pkt, dp) : track(pkt, dp);
}

/** The same, and followers hear of a new state or status. */
function trackAndTell(pkt: Packet, dp: Dataplane): Verdict {
  const { conntrack } = dp;
  const { words } = conntrack;
  const record = pkt.flow;
  const at = recordAt(conntrack, record);
  const meta = words[at + Rec.META];
  const state = tcpState(words, at + Rec.TCP);
  const verdict = track(pkt, dp);
  const moved =
    words[at + Rec.META] !== meta || (pkt.protocol === PROTOCOL_TCP && tcpState(words, at + Rec.TCP) !== state);
  if (moved && pkt.flow === record) publishEvent(conntrack, EventKind.UPDATE, record);
  return verdict;
}

function track(pkt: Packet, dp: Dataplane): Verdict {
  const { conntrack } = dp;
  const { words } = conntrack;
  const at = recordAt(conntrack, pkt.flow);
  const meta = words[at + Rec.META];
  // The first fragment spoke for the whole datagram; the others are no further packets of the connection.
  if (pkt.fragmentOffset !== 0 && pkt.protocol !== PROTOCOL_TCP) return Verdict.GO_ON;
  if (pkt.protocol === PROTOCOL_TCP) {
    if (conntrack.workers === 1) return trackTcp(pkt, dp, at, meta);
    // The other direction may be in another worker's hands at this moment, and both write the connection's state (linux:
    // ct->lock). One more stripe held alone, so no order of locks matters.
    const turn = pkt.flow & LOCK_MASK;
    lock(conntrack.locks, turn, dp.worker);
    const verdict = trackTcp(pkt, dp, at, meta);
    unlock(conntrack.locks, turn);
    return verdict;
  }

  let seconds: number;
  if (pkt.protocol === PROTOCOL_UDP) {
    // A question and its answer are no stream yet, however many there are: DNS must not fill the table with entries that
    // cannot be taken away (linux nf_conntrack_proto_udp.c: still active after two seconds).
    const stream = (meta & Status.SEEN_REPLY) !== 0 && ((words[at + Rec.STREAM_FROM] - (dp.nowMs | 0)) | 0) < 0;
    if (stream && (meta & Status.ASSURED) === 0) Atomics.or(words, at + Rec.META, Status.ASSURED | Status.STREAM);
    seconds = dp.timeouts[stream ? TimeoutClass.UDP_STREAM : TimeoutClass.UDP];
  } else if (pkt.protocol === PROTOCOL_ICMP) {
    seconds = dp.timeouts[TimeoutClass.ICMP];
  } else {
    if (pkt.direction === 1 && (meta & Status.ASSURED) === 0) Atomics.or(words, at + Rec.META, Status.ASSURED);
    seconds = dp.timeouts[TimeoutClass.GENERIC];
  }
  if (pkt.direction === 1 && (meta & Status.SEEN_REPLY) === 0) Atomics.or(words, at + Rec.META, Status.SEEN_REPLY);
  words[at + Rec.EXPIRES] = (dp.nowMs + seconds * 1000) | 0;
  return Verdict.GO_ON;
}

function trackTcp(pkt: Packet, dp: Dataplane, at: number, meta: number): Verdict {
  const { conntrack } = dp;
  const { words } = conntrack;
  const { view, l4 } = pkt;
  if (pkt.fragmentOffset !== 0) {
    // But what it sent may be acknowledged.
    const end = (dp.fragments.fragment.sequence + pkt.fragmentOffset + pkt.end - l4) | 0;
    tcpFragment(words, at + Rec.TCP, pkt.direction, end);
    return Verdict.GO_ON;
  }
  readTcpSegment(view, l4, pkt.headersEnd, segment);
  segment.direction = pkt.direction;
  segment.payloadBytes = pkt.payloadBytes;
  const result = tcpPacket(words, at + Rec.TCP, segment, meta & Status.SEEN_REPLY, dp.timeouts[Setting.TCP_LIBERAL]);
  if (result === TcpResult.INVALID) return Verdict.CONNTRACK_INVALID;
  if (result === TcpResult.INVALID_CLOSING) {
    const soon = (dp.nowMs + dp.timeouts[TimeoutClass.TCP_UNACKNOWLEDGED] * 1000) | 0;
    if (((words[at + Rec.EXPIRES] - soon) | 0) > 0) words[at + Rec.EXPIRES] = soon;
    return Verdict.CONNTRACK_INVALID;
  }
  if (pkt.direction === 1 && (meta & Status.SEEN_REPLY) === 0) Atomics.or(words, at + Rec.META, Status.SEEN_REPLY);
  if (result === TcpResult.IGNORED) return Verdict.GO_ON;
  if ((meta & Status.ASSURED) === 0 && tcpAssured(words, at + Rec.TCP, meta & Status.SEEN_REPLY)) {
    Atomics.or(words, at + Rec.META, Status.ASSURED);
  }
  words[at + Rec.EXPIRES] =
    (dp.nowMs + dp.timeouts[tcpTimeoutClass(words, at + Rec.TCP, meta & Status.SEEN_REPLY, dp.timeouts)] * 1000) | 0;
  return Verdict.GO_ON;
}

/** Packets and bytes of the flow, in the packet's direction, and packets of its endpoint. Bytes count from the network header, as conntrack's do. */
export function countFlow(pkt: Packet, dp: Dataplane): void {
  const { words, doubles } = dp.conntrack;
  const at = recordAt(dp.conntrack, pkt.flow);
  const endpoint = words[at + Rec.ENDPOINT];
  if (endpoint !== 0) countEndpointPacket(dp.services, dp.worker, endpoint);
  if (pkt.direction === 0) {
    words[at + Rec.PACKETS_ORIGINAL]++;
    doubles[(at + Rec.BYTES_ORIGINAL) >> 1] += pkt.end - pkt.l3;
  } else {
    words[at + Rec.PACKETS_REPLY]++;
    doubles[(at + Rec.BYTES_REPLY) >> 1] += pkt.end - pkt.l3;
  }
}
