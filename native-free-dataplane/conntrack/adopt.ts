/**
 * Takes over a connection that another tracker, the kernel's, has translated so far: it gets a record with the same
 * translation, and goes on here with its next packet, from either side.
 *
 * Of TCP only the state is known: the record is as that of a connection picked up in the middle, whose windows are
 * learned from the next segments of both sides. Its hops are looked up with its next packet too, which is then judged by
 * routes and policies. It has no endpoint number: its packets do not count among those of its Service's endpoint.
 */
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import { allocateRecord, freeRecord, scheduleRecord } from './lifetime.ts';
import { type Conntrack, Rec, recordAt, Status } from './record.ts';
import { tcpPickedUp } from './tcp/tracker.ts';
import { writeTuple } from './tuple.ts';
import { InsertResult, insertRecord } from './tuple-index.ts';

/** One direction as it is on the wire: addresses of four words, IPv4 mapped. */
export interface AdoptedTuple {
  readonly src: Int32Array;
  readonly dst: Int32Array;
  readonly srcPort: number;
  readonly dstPort: number;
}

export interface AdoptedConnection {
  readonly protocol: number;
  readonly original: AdoptedTuple;
  readonly reply: AdoptedTuple;
  /** TcpState (tcp/states.ts); 0 for other protocols. */
  readonly tcpState: number;
  /** Status bits: of SEEN_REPLY, ASSURED, SNAT and DNAT, those that apply. */
  readonly status: number;
  /** Until it expires if it is not used. */
  readonly timeoutMs: number;
}

/**
 * Adopt a connection. For the agent, while no worker runs.
 * @param generation any but the current route generation, so that hops are looked up
 * @returns false if the table is full, or has one of the tuples already
 */
export function adoptConnection(
  table: Conntrack,
  { protocol, original, reply, tcpState, status, timeoutMs }: AdoptedConnection,
  generation: number,
  nowMs: number,
): boolean {
  const record = allocateRecord(table, 0, nowMs);
  if (record < 0) return false;
  const { words, tupleWords } = table;
  const at = recordAt(table, record);
  for (let i = 0; i < Rec.TUPLES; i++) words[at + i] = 0;
  const stream = protocol === PROTOCOL_UDP && (status & Status.ASSURED) !== 0 ? Status.STREAM : 0;
  words[at + Rec.META] = (protocol << 16) | status | stream;
  words[at + Rec.ROUTED] = generation & 0xffff;
  words[at + Rec.EXPIRES] = (nowMs + timeoutMs) | 0;
  if (protocol === PROTOCOL_TCP) tcpPickedUp(words, at + Rec.TCP, tcpState);
  else if (protocol === PROTOCOL_UDP) words[at + Rec.STREAM_FROM] = nowMs | 0;
  const tuples = at + Rec.TUPLES;
  writeTuple(table, words, tuples, original.src, original.dst, (original.srcPort << 16) | original.dstPort);
  writeTuple(table, words, tuples + tupleWords, reply.src, reply.dst, (reply.srcPort << 16) | reply.dstPort);
  if (insertRecord(table, record, 0) !== InsertResult.INSERTED) {
    freeRecord(table, record, 0, nowMs);
    return false;
  }
  scheduleRecord(table, record, 0, nowMs);
  return true;
}
