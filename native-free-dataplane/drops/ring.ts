/**
 * The last packets of a worker that did not arrive: dropped, refused, or lost at a device. Each worker has a ring of its
 * own behind its counters (shared/counters.ts), and is its only writer. It is always written, because a packet that was
 * dropped before anybody looked is what people ask about later; a packet that arrives costs nothing here.
 *
 * A writer stores the record's number in SEQUENCE last. A reader in any process copies a record and checks the number
 * again: a different one means that the record is not written yet, or that newer ones have replaced it.
 */
import { countVerdict, DROP_HEAD_WORDS, DROP_SLOTS, DROP_WORDS, type WorkerCounters } from '../shared/counters.ts';

/** Words of a record. Addresses take four each. */
export const DropWord = {
  SEQUENCE: 0,
  /** Low 32 bits of the monotonic milliseconds. */
  TIME: 1,
  VERDICT: 2,
  /** Port that the packet was received on, and for a lost frame the port that it was sent to. */
  IN_PORT: 3,
  OUT_PORT: 4,
  /** Protocol, TCP flags, ICMP type and code: one byte each, from the lowest. */
  TRANSPORT: 5,
  /** Source port << 16 | destination port, and the destination port after translation. */
  PORTS: 6,
  NEW_PORT: 7,
  /** DropBit. */
  BITS: 8,
  /** Bytes of the frame. */
  BYTES: 9,
  /** Number of the policy's rule that denied it (policies/rules.ts); 0: none. */
  RULE: 10,
  SRC: 12,
  DST: 16,
  /** Destination after translation. */
  NEW_DST: 20,
} as const;

export const DropBit = {
  /** The packet was parsed: addresses, ports and protocol are valid. */
  ADDRESSED: 1,
  /** From another node. */
  TUNNELLED: 2,
  /** A Service's endpoint was chosen: NEW_DST, NEW_PORT. */
  TRANSLATED: 4,
  /** The packet belongs to a tracked connection. */
  TRACKED: 8,
  /** It is a reply on that connection. */
  REPLY: 16,
  /** The frame was not accepted by the device OUT_PORT. */
  SENT: 32,
  /** IN_PORT and BYTES are valid. */
  RECEIVED: 64,
} as const;

/** Begin a record. @returns index of its first word; valid until the next call */
export function beginDrop(ring: Int32Array): number {
  const at = DROP_HEAD_WORDS + (ring[0] & (DROP_SLOTS - 1)) * DROP_WORDS;
  Atomics.store(ring, at + DropWord.SEQUENCE, 0);
  return at;
}

/** Let readers see the record that was begun. */
export function publishDrop(ring: Int32Array, at: number): void {
  const number = (ring[0] + 1) | 0;
  Atomics.store(ring, at + DropWord.SEQUENCE, number);
  Atomics.store(ring, 0, number);
}

/** Change the verdict of the record that was published last. */
export function changeLastVerdict(ring: Int32Array, verdict: number): void {
  ring[DROP_HEAD_WORDS + ((ring[0] - 1) & (DROP_SLOTS - 1)) * DROP_WORDS + DropWord.VERDICT] = verdict;
}

/** Add a record of a packet whose bytes are gone: only its verdict is known. */
export function addUnseenDrop(ring: Int32Array, verdict: number, nowMs: number): void {
  const at = beginDrop(ring);
  ring[at + DropWord.TIME] = nowMs;
  ring[at + DropWord.VERDICT] = verdict;
  ring[at + DropWord.BITS] = 0;
  publishDrop(ring, at);
}

/** Count a packet whose bytes are gone, and add its record. */
export function countUnseenDrop(counters: WorkerCounters, verdict: number, nowMs: number): void {
  addUnseenDrop(counters.drops, verdict, nowMs);
  countVerdict(counters, verdict);
}

/** Number of the next record: where a new reader starts. */
export function dropHead(ring: Int32Array): number {
  return Atomics.load(ring, 0);
}

/** Results of readDrop. */
export const DropRead = { FOUND: 1, NOT_YET: 0, OVERTAKEN: -1 } as const;
export type DropRead = (typeof DropRead)[keyof typeof DropRead];

/** Copy record `number` into `into` (DROP_WORDS words). */
export function readDrop(ring: Int32Array, number: number, into: Int32Array): DropRead {
  const behind = (dropHead(ring) - number) | 0;
  if (behind <= 0) return DropRead.NOT_YET;
  if (behind > DROP_SLOTS) return DropRead.OVERTAKEN;
  const at = DROP_HEAD_WORDS + (number & (DROP_SLOTS - 1)) * DROP_WORDS;
  const sequence = (number + 1) | 0;
  // 0 is also in a slot that was never written.
  if (sequence === 0 || Atomics.load(ring, at + DropWord.SEQUENCE) !== sequence) return DropRead.OVERTAKEN;
  for (let i = 0; i < DROP_WORDS; i++) into[i] = ring[at + i];
  return Atomics.load(ring, at + DropWord.SEQUENCE) === sequence ? DropRead.FOUND : DropRead.OVERTAKEN;
}
