/**
 * Connection events (new, update, destroy) for monitoring: a ring in the table's own memory, written only while a
 * follower is attached.
 *
 * A writer claims the next sequence number, fills the slot and stores the number in it last. A reader that finds a
 * different number is either too early or has been overtaken, and can tell which. No locks: the head is claimed by
 * Atomics.add, and a slot belongs to the writer that claimed its number. The copied record may mix fields from two
 * packets processed at the same time; its tuples never change.
 */
import { type Conntrack, EVENT_SLOTS, EVENT_WORDS, recordAt, StateWord } from './record.ts';

export const EventKind = { NEW: 1, UPDATE: 2, DESTROY: 3 } as const;
export type EventKind = (typeof EventKind)[keyof typeof EventKind];

const SEQUENCE = 0;
const KIND = 1;
/** Last words of a slot: milliseconds, and before them the microseconds within; at most 42 words precede them. */
const TIME: number = EVENT_WORDS - 1;
const TIME_MICROS: number = EVENT_WORDS - 2;
/** Where the copy of the record begins in a slot; even, so that its doubles stay aligned. */
export const EVENT_RECORD = 2;

/** How long after its last heartbeat a follower counts as attached. */
export const FOLLOW_MS = 3000;

/** Is a follower attached? One load, checked before every event. */
export function isFollowed(table: Conntrack): boolean {
  return table.state[StateWord.FOLLOWED] !== 0;
}

/** Heartbeat of a follower; it has to repeat this within FOLLOW_MS. */
export function follow(table: Conntrack, nowMs: number): void {
  Atomics.store(table.state, StateWord.FOLLOWED, (nowMs + FOLLOW_MS) | 0 || 1);
}

/**
 * Set the timestamp for the following events; each worker calls this at the start of a batch. Writes nothing while
 * there is no follower.
 * @param micros microseconds within `nowMs`: a packet passes several nodes within a millisecond, and followers merge their
 * events by time
 */
export function stampEvents(table: Conntrack, nowMs: number, micros: number): void {
  if (!isFollowed(table)) return;
  table.state[StateWord.CLOCK_MS] = nowMs | 0;
  table.state[StateWord.CLOCK_MICROS] = micros;
}

/** Advance the timestamp to this millisecond, for events of others than workers; a follower calls this. */
export function advanceClock(table: Conntrack, nowMs: number): void {
  if ((((nowMs | 0) - table.state[StateWord.CLOCK_MS]) | 0) > 0) stampEvents(table, nowMs, 0);
}

/** Detach a follower whose heartbeat has expired. Workers call this periodically. */
export function expireFollower(table: Conntrack, nowMs: number): void {
  const until = table.state[StateWord.FOLLOWED];
  if (until !== 0 && ((until - (nowMs | 0)) | 0) < 0)
    Atomics.compareExchange(table.state, StateWord.FOLLOWED, until, 0);
}

/** Publish an event with a copy of the record. */
export function publishEvent(table: Conntrack, kind: EventKind, record: number): void {
  const { events, words, recordWords, state } = table;
  const number = Atomics.add(state, StateWord.EVENT_HEAD, 1);
  const at = (number & (EVENT_SLOTS - 1)) * EVENT_WORDS;
  Atomics.store(events, at + SEQUENCE, 0);
  events[at + KIND] = kind;
  events[at + TIME] = state[StateWord.CLOCK_MS];
  events[at + TIME_MICROS] = state[StateWord.CLOCK_MICROS];
  const from = recordAt(table, record);
  for (let i = 0; i < recordWords; i++) events[at + EVENT_RECORD + i] = words[from + i];
  Atomics.store(events, at + SEQUENCE, (number + 1) | 0);
}

/** Sequence number of the next event to be published: where a new follower starts reading. */
export function eventHead(table: Conntrack): number {
  return Atomics.load(table.state, StateWord.EVENT_HEAD);
}

/** Timestamp of an event that was read: monotonic milliseconds, int32. */
export const eventTime = (event: Int32Array): number => event[TIME];

/** Microseconds within its millisecond. */
export const eventMicros = (event: Int32Array): number => event[TIME_MICROS];

/** Results of readEvent other than an EventKind. */
export const NOT_YET = 0;
export const OVERTAKEN: number = -1;

/**
 * Copy event `number` into `into` (EVENT_WORDS words).
 * @returns its EventKind, NOT_YET, or OVERTAKEN if the ring has wrapped and the event was overwritten
 */
export function readEvent(table: Conntrack, number: number, into: Int32Array): number {
  const behind = (eventHead(table) - number) | 0;
  if (behind <= 0) return NOT_YET;
  if (behind > EVENT_SLOTS) return OVERTAKEN;
  const at = (number & (EVENT_SLOTS - 1)) * EVENT_WORDS;
  const sequence = (number + 1) | 0;
  if (Atomics.load(table.events, at + SEQUENCE) !== sequence) return NOT_YET;
  for (let i = 0; i < EVENT_WORDS; i++) into[i] = table.events[at + i];
  return Atomics.load(table.events, at + SEQUENCE) === sequence ? into[KIND] : OVERTAKEN;
}
