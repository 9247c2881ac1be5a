/**
 * A connection that `conntrack flush` removed goes on: its next packet, from either side, restores the record with the
 * same translation and TCP state (conntrack/flushed.ts). Only packets that can be nothing else do that: a TCP segment in
 * the middle, and a datagram of a connection that is masqueraded but has no service. A SYN, and a datagram to a service,
 * begin anew, because a flush is how an operator has a service choose another endpoint.
 */
import { findFlushed } from '../conntrack/flushed.ts';
import { allocateRecord, freeRecord, scheduleRecord } from '../conntrack/lifetime.ts';
import { Rec, recordAt, Status } from '../conntrack/record.ts';
import { TimeoutClass } from '../conntrack/timeouts.ts';
import { InsertResult, insertRecord } from '../conntrack/tuple-index.ts';
import type { Dataplane } from '../dataplane.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import { TCP_SYN } from '../wire/tcp.ts';

/**
 * When the wheel first examines a resumed record. If the packet is dropped after all, the record is flushed again
 * (pipeline.ts): a flood of such packets must not hold as many records for the usual 16 s.
 */
const EXAMINED_MS = 500;

/** Whether a packet's connection was resumed; BY_ANOTHER: by another worker at the same time. */
export const Resumed = { NOT: 0, HERE: 1, BY_ANOTHER: 2 } as const;
export type Resumed = (typeof Resumed)[keyof typeof Resumed];

/**
 * Resume the packet's connection if it was flushed. The packet has no flow, and its tuple is the table's key (findFlow).
 * @returns NOT, or else with pkt.flow and pkt.direction set
 */
export function resumeFlow(pkt: Packet, dp: Dataplane): Resumed {
  const { conntrack, nowMs } = dp;
  const { words, recordWords } = conntrack;
  const isTcp = pkt.protocol === PROTOCOL_TCP;
  if (isTcp ? (pkt.tcpFlags & TCP_SYN) !== 0 : pkt.protocol !== PROTOCOL_UDP) return Resumed.NOT;
  const reference = findFlushed(conntrack, pkt.hash, nowMs);
  if (reference < 0) return Resumed.NOT;
  const old = recordAt(conntrack, reference >> 1);
  if (!isTcp && (words[old + Rec.META] & Status.DNAT) !== 0) return Resumed.NOT;
  let record = allocateRecord(conntrack, dp.worker, nowMs);
  if (record === reference >> 1) {
    // The old record is next in the free queue. It stays until the new one is in the index: meanwhile a packet of the
    // other side, on another worker, finds the connection there.
    record = allocateRecord(conntrack, dp.worker, nowMs);
    freeRecord(conntrack, reference >> 1, dp.worker, nowMs);
  }
  if (record < 0) return Resumed.NOT;
  const at = recordAt(conntrack, record);
  for (let i = 0; i < recordWords; i++) words[at + i] = words[old + i];
  for (let i = Rec.PACKETS_ORIGINAL; i < Rec.TCP; i++) words[at + i] = 0;
  words[at + Rec.META] &= ~(Status.CONFIRMED | Status.DEAD | Status.FLUSHED);
  words[at + Rec.EXPIRES] = (nowMs + EXAMINED_MS) | 0;
  const result = insertRecord(conntrack, record, dp.worker);
  if (result === InsertResult.INSERTED) {
    scheduleRecord(conntrack, record, dp.worker, nowMs);
    // Until the packet is tracked, which sets the timeout of its state.
    const seconds = dp.timeouts[isTcp ? TimeoutClass.TCP_UNACKNOWLEDGED : TimeoutClass.UDP];
    words[at + Rec.EXPIRES] = (nowMs + seconds * 1000) | 0;
    pkt.flow = record;
    pkt.direction = reference & 1;
    return Resumed.HERE;
  }
  freeRecord(conntrack, record, dp.worker, nowMs);
  // Unless another worker has just resumed it, its tuples belong to another connection by now.
  if (result !== InsertResult.ORIGINAL_EXISTS) return Resumed.NOT;
  pkt.flow = conntrack.found[0] >> 1;
  pkt.direction = (conntrack.found[0] ^ reference) & 1;
  return Resumed.BY_ANOTHER;
}
