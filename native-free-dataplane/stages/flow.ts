/**
 * Connection look-up, tracking and accounting: find the packet's flow, update its state and lifetime, count the packet.
 *
 * A packet that does not fit the state of its connection is dropped, never forwarded untranslated: the endpoint would
 * answer it with a reset into a healthy connection (kubernetes #74839).
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
import { NodeWord } from '../node/config.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import { countEndpointPacket } from '../services/table.ts';
import { ADDRESS_WORDS, copyAddress, sameAddress } from '../shared/address.ts';
import { lock, unlock } from '../shared/spin-lock.ts';
import { Verdict } from '../verdicts.ts';
import { readTcpSegment } from '../wire/tcp.ts';

/** The node's address; filled and used within one call. */
const nodeAddress: Int32Array = new Int32Array(ADDRESS_WORDS);

/**
 * Find the packet's flow: sets pkt.flow and pkt.direction, or pkt.flow = -1. Sets pkt.hash in both cases.
 * An expired flow that has not been removed yet is removed here, so that a new connection does not continue it.
 */
export function findFlow(pkt: Packet, dp: Dataplane): void {
  const { conntrack } = dp;
  const { key, words } = conntrack;
  writeKey(conntrack, pkt.src, pkt.dst, (pkt.srcPort << 16) | pkt.dstPort, pkt.tupleKind);
  pkt.hash = hashTuple(conntrack, key, 0, pkt.tupleKind);
  let reference = findTuple(conntrack, pkt.hash);
  if (reference < 0) reference = findAsNode(pkt, dp);
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

/**
 * A UDP socket in the node's own namespace that is bound to no address answers from the address of the route back, which
 * is the gateway's, and not from the node's address that a service translated to (kubernetes #94812). If the packet is
 * such a reply, pkt.src becomes the node's address; in the packet itself the translation replaces it by the service's.
 * @returns as findTuple; pkt.hash is that of the tuple found
 */
function findAsNode(pkt: Packet, dp: Dataplane): number {
  const { conntrack, node } = dp;
  if (pkt.protocol !== PROTOCOL_UDP || pkt.inPort !== 0 || pkt.tunnelled !== 0) return -1;
  if (!sameAddress(pkt.src, node.config, NodeWord.GATEWAY_IP)) return -1;
  const { key, words } = conntrack;
  copyAddress(node.config, NodeWord.NODE_IP, nodeAddress);
  writeKey(conntrack, nodeAddress, pkt.dst, (pkt.srcPort << 16) | pkt.dstPort, pkt.tupleKind);
  const hash = hashTuple(conntrack, key, 0, pkt.tupleKind);
  const reference = findTuple(conntrack, hash);
  if (reference < 0 || (reference & 1) === 0) return -1;
  const at = recordAt(conntrack, reference >> 1);
  if ((words[at + Rec.META] & Status.DNAT) === 0 || ((words[at + Rec.EXPIRES] - (dp.nowMs | 0)) | 0) <= 0) return -1;
  copyAddress(nodeAddress, 0, pkt.src);
  pkt.hash = hash;
  return reference;
}

/**
 * Is the packet a SYN that opens a new connection on the tuple of a closed one? Changes nothing: the old flow is
 * removed when the new one is created (pipeline.ts).
 */
export function reopensFlow(pkt: Packet, dp: Dataplane): boolean {
  if (pkt.protocol !== PROTOCOL_TCP || pkt.fragmentOffset !== 0) return false;
  const { conntrack } = dp;
  return tcpReopens(conntrack.words, recordAt(conntrack, pkt.flow) + Rec.TCP, pkt.direction, pkt.tcpFlags);
}

/**
 * Update state and timeout of the packet's flow. GO_ON, or CONNTRACK_INVALID if the packet does not fit the flow's
 * state.
 */
export function trackFlow(pkt: Packet, dp: Dataplane): Verdict {
  return isFollowed(dp.conntrack) ? trackAndPublish(pkt, dp) : track(pkt, dp);
}

/** Track, and publish an event if the state or the status has changed. */
function trackAndPublish(pkt: Packet, dp: Dataplane): Verdict {
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
  // The first fragment has updated the connection for the whole datagram.
  if (pkt.fragmentOffset !== 0 && pkt.protocol !== PROTOCOL_TCP) return Verdict.GO_ON;
  if (pkt.protocol === PROTOCOL_TCP) {
    if (conntrack.workers === 1) return trackTcp(pkt, dp, at, meta);
    // Another worker may be processing a packet of the other direction, and both write the connection's state (linux
    // ct->lock). No other lock is held, so the order of locks does not matter.
    const turn = pkt.flow & LOCK_MASK;
    lock(conntrack.locks, turn, dp.worker);
    const verdict = trackTcp(pkt, dp, at, meta);
    unlock(conntrack.locks, turn);
    return verdict;
  }

  let seconds: number;
  if (pkt.protocol === PROTOCOL_UDP) {
    // A query and its reply are not a stream: otherwise DNS would fill the table with entries that cannot be evicted
    // (linux nf_conntrack_proto_udp.c: a stream is still active two seconds after its first packet).
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

/** Track a TCP segment. @param at first word of its record; @param meta the record's META word */
function trackTcp(pkt: Packet, dp: Dataplane, at: number, meta: number): Verdict {
  const { conntrack } = dp;
  const { words } = conntrack;
  const { view, l4 } = pkt;
  if (pkt.fragmentOffset !== 0) {
    // Its bytes count as sent, so that the other side may acknowledge them.
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

/**
 * Count the packet and its bytes for its flow and direction, and the packet for its endpoint. Bytes count from the
 * network header (linux nf_conntrack_acct does the same).
 */
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
