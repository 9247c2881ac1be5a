/**
 * What happens to connections, for whoever follows: a ring in the table's own memory, written only while somebody does.
 *
 * A writer takes the next number, fills the slot and stores the number in it last; a reader that finds another number
 * than it expects was too slow or too early, and knows which. No locks: the head is taken by Atomics.add, a slot belongs to
 * whoever took its number. The copy of a record may mix words of two packets that came at once; its tuples never change.
 */
import { type Conntrack, EVENT_SLOTS, EVENT_WORDS, recordAt, StateWord } from './record.ts';

export const EventKind = { NEW: 1, UPDATE: 2, DESTROY: 3 } as const;
export type EventKind = (typeof EventKind)[keyof typeof EventKind];

const SEQUENCE = 0;
const KIND = 1;
/** Last word of a slot: at most 42 words come before it. */
const TIME: number = EVENT_WORDS - 1;
/** Where the copy of the record begins in a slot; even, so that its doubles stay aligned. */
export const EVENT_RECORD = 2;

/** How long a follower is believed to be there after it last said so. */
export const FOLLOW_MS = 3000;

/** Is somebody following? One load, asked before every event. */
export function isFollowed(table: Conntrack): boolean {
  return table.state[StateWord.FOLLOWED] !== 0;
}

/** A follower says that it is there. */
export function follow(table: Conntrack, nowMs: number): void {
  Atomics.store(table.state, StateWord.FOLLOWED, (nowMs + FOLLOW_MS) | 0 || 1);
}

/** The time of the events to come: by each worker at the start of a batch. Nothing is written while nobody follows. */
export function stampEvents(table: Conntrack, nowMs: number): void {
  if (isFollowed(table)) table.state[StateWord.CLOCK_MS] = nowMs | 0;
}

/** Forget a follower that has gone. Called now and then by the workers. */
export function expireFollower(table: Conntrack, nowMs: number): void {
  const until = table.state[StateWord.FOLLOWED];
  if (until !== 0 && ((until - (nowMs | 0)) | 0) < 0)
    Atomics.compareExchange(table.state, StateWord.FOLLOWED, until, 0);
}

/** Tell followers what became of a record. */
export function publishEvent(table: Conntrack, kind: EventKind, record: number): void {
  const { events, words, recordWords, state } = table;
  const number = Atomics.add(state, StateWord.EVENT_HEAD, 1);
  const at = (number & (EVENT_SLOTS - 1)) * EVENT_WORDS;
  Atomics.store(events, at + SEQUENCE, 0);
  events[at + KIND] = kind;
  events[at + TIME] = state[StateWord.CLOCK_MS];
  const from = recordAt(table, record);
  for (let i = 0; i < recordWords; i++) events[at + EVENT_RECORD + i] = words[from + i];
  Atomics.store(events, at + SEQUENCE, (number + 1) | 0);
}

/** Number of the next event to be published: where a new follower begins. */
export function eventHead(table: Conntrack): number {
  return Atomics.load(table.state, StateWord.EVENT_HEAD);
}

/** Monotonic milliseconds (int32) of an event that was read. */
export const eventTime = (event: Int32Array): number => event[TIME];

/** Results of readEvent besides a kind. */
export const NOT_YET = 0;
export const OVERTAKEN: number = -1;

/**
 * Copy event `number` into `into` (EVENT_WORDS words).
 * @returns its EventKind, NOT_YET, or OVERTAKEN when the ring has gone round since
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
