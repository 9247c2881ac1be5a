/**
 * Memory for capturing on a running node: up to SESSIONS readers at once, each with a filter and one ring for every
 * worker (ring.ts). Workers write only while a session is active. Whether anything has changed is one word (CHANGES),
 * which a worker compares at the start of each turn; without a session this is all that capturing costs.
 *
 * A reader claims a session, writes its settings and starts it, and has to renew its lease within LEASE_MS. A session
 * whose reader has died expires: workers end it, and another reader may claim it. UNTIL is changed only by
 * compare-and-swap, so that a reader that was stopped for too long notices that the session is no longer its own.
 *
 *   header · packet counter of each worker · sessions (settings, program) · rings (session by session)
 */
import { INSTRUCTION_WORDS, MAX_INSTRUCTIONS } from '../filter/program.ts';
import { H_OWN, HEADER_WORDS, headerMatches, MAX_WORKERS, TableKind, writeHeader } from '../shared/layout.ts';

const VERSION = 3;
const H_WORKERS = H_OWN;
const H_PORTS = H_OWN + 1;
const H_RING_BYTES = H_OWN + 2;
const H_CHANGES = H_OWN + 8;
const H_PAUSE = H_OWN + 9;
const H_PAUSE_UNTIL = H_OWN + 10;

/** Readers that can capture on a node at the same time. */
export const SESSIONS = 4;
/** How long a reader's lease lasts after its last renewal. On a busy machine a reader may get no processor for some seconds. */
export const LEASE_MS = 8000;

/** Words between counters of different workers: one cache line. */
const LINE_WORDS = 16;
const COUNTERS_AT = HEADER_WORDS;
const SESSIONS_AT: number = COUNTERS_AT + MAX_WORKERS * LINE_WORDS;
const SETTINGS_WORDS = 16;
const SESSION_WORDS: number = SETTINGS_WORDS + MAX_INSTRUCTIONS * INSTRUCTION_WORDS;
const RINGS_AT: number = SESSIONS_AT + SESSIONS * SESSION_WORDS;

/** Words of a session's settings. */
const SessionWord = {
  /** End of the reader's lease: low 32 bits of the monotonic milliseconds; 0: no reader. */
  UNTIL: 0,
  ACTIVE: 1,
  /** Number of the session among all that have used this slot; records of an earlier one are skipped. */
  GENERATION: 2,
  POINTS: 3,
  SNAP: 4,
  PORT: 5,
  PROGRAM_WORDS: 6,
} as const;

/**
 * Where frames are captured; bits of `points`. STEPS: the packet's steps through the pipeline, as JSON, in a record of
 * their own behind those of its frames. REPLAY: what it takes to do the same again; each worker's state when the session
 * begins (a record with the point STATE), and its periodic work (TICK), both without a frame.
 */
export const Point = { RECEIVED: 1, SENT: 2, DROPPED: 4, STEPS: 8, REPLAY: 16, STATE: 32, TICK: 64 } as const;
/** Value of `port` for all ports. */
export const ANY_PORT: number = -1;

/** What a reader wants to capture. */
export interface CaptureSettings {
  /** Bits of Point. */
  readonly points: number;
  /** Bytes of each frame to keep. */
  readonly snapBytes: number;
  /** Number of the only port to capture at, or ANY_PORT. */
  readonly port: number;
  /** A program of filter/compile.ts. */
  readonly program: Int32Array;
}

export interface CaptureMemory {
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  readonly workers: number;
  readonly ports: number;
  readonly ringBytes: number;
}

export interface CaptureMemoryOptions {
  readonly workers: number;
  /** Ports that a node can have. */
  readonly ports: number;
  /** Size of each ring's data, a power of two. */
  readonly ringBytes: number;
}

/** Words of a ring before its data: its indices, and a counter of lost frames for each port. */
export const RING_HEAD = 0;
export const RING_TAIL: number = LINE_WORDS;
export const RING_LOST: number = 2 * LINE_WORDS;

const ringWords = ({ ports, ringBytes }: CaptureMemoryOptions): number => RING_LOST + ports + (ringBytes >> 2);

export function captureBytes(options: CaptureMemoryOptions): number {
  return (RINGS_AT + SESSIONS * options.workers * ringWords(options)) * 4;
}

/** Lay out the memory in zeroed bytes. */
export function createCaptureMemory(buffer: ArrayBuffer, options: CaptureMemoryOptions): CaptureMemory {
  if ((options.ringBytes & (options.ringBytes - 1)) !== 0) throw new RangeError('the size of a ring is a power of two');
  const words = new Int32Array(buffer);
  words[H_WORKERS] = options.workers;
  words[H_PORTS] = options.ports;
  words[H_RING_BYTES] = options.ringBytes;
  writeHeader(words, TableKind.CAPTURE, VERSION, new Int32Array(4));
  return { words, bytes: new Uint8Array(buffer), ...options };
}

/** Map existing capture memory; undefined if the memory holds something else. */
export function attachCaptureMemory(buffer: ArrayBuffer): CaptureMemory | undefined {
  const words = new Int32Array(buffer);
  if (!headerMatches(words, TableKind.CAPTURE, VERSION)) return undefined;
  return {
    words,
    bytes: new Uint8Array(buffer),
    workers: words[H_WORKERS],
    ports: words[H_PORTS],
    ringBytes: words[H_RING_BYTES],
  };
}

/** Index of the first word of a worker's ring. */
export function ringAt(memory: CaptureMemory, session: number, worker: number): number {
  return RINGS_AT + (session * memory.workers + worker) * ringWords(memory);
}

/** Words of the pause (pause.ts): its number, and until when it lasts at most. */
export const pauseWords: { readonly number: number; readonly until: number } = {
  number: H_PAUSE,
  until: H_PAUSE_UNTIL,
};

/** Index of the word in which a worker stores the number of the pause that it has stopped for. */
export function pausedAt(worker: number): number {
  return COUNTERS_AT + worker * LINE_WORDS + 1;
}

/** Make workers look at sessions and pause again. */
export function announceChange({ words }: CaptureMemory): void {
  Atomics.add(words, H_CHANGES, 1);
}

/** Index of the counter of the packets that a worker has numbered. */
export function packetCounterAt(worker: number): number {
  return COUNTERS_AT + worker * LINE_WORDS;
}

const wordAt = (session: number, word: number): number => SESSIONS_AT + session * SESSION_WORDS + word;

/** Counts starts and ends of sessions, and pauses; workers look again when it differs from what they saw last. */
export function changesOf({ words }: CaptureMemory): number {
  return words[H_CHANGES];
}

const isExpired = (until: number, nowMs: number): boolean => ((until - (nowMs | 0)) | 0) < 0;

function leaseFrom(nowMs: number): number {
  return (nowMs + LEASE_MS) | 0 || 1;
}

/** A reader's claim: the session, and the end of its lease as last written. */
export interface Claim {
  readonly session: number;
  until: number;
}

/** Claim a free session; undefined if all are in use. */
export function claimSession({ words }: CaptureMemory, nowMs: number): Claim | undefined {
  const until = leaseFrom(nowMs);
  for (let session = 0; session < SESSIONS; session++) {
    const at = wordAt(session, SessionWord.UNTIL);
    const found = Atomics.load(words, at);
    if (found !== 0 && !isExpired(found, nowMs)) continue;
    if (Atomics.compareExchange(words, at, found, until) === found) return { session, until };
  }
  return undefined;
}

/** Start a claimed session: from now on workers write what matches `settings`. @returns its generation */
export function startSession(memory: CaptureMemory, { session }: Claim, settings: CaptureSettings): number {
  const { words } = memory;
  Atomics.store(words, wordAt(session, SessionWord.ACTIVE), 0);
  const generation = (words[wordAt(session, SessionWord.GENERATION)] + 1) | 0;
  words[wordAt(session, SessionWord.GENERATION)] = generation;
  words[wordAt(session, SessionWord.POINTS)] = settings.points;
  words[wordAt(session, SessionWord.SNAP)] = settings.snapBytes;
  words[wordAt(session, SessionWord.PORT)] = settings.port;
  words[wordAt(session, SessionWord.PROGRAM_WORDS)] = settings.program.length;
  words.set(settings.program, wordAt(session, SETTINGS_WORDS));
  for (let worker = 0; worker < memory.workers; worker++) {
    // Only the reader moves a ring's tail: what an earlier reader left unread is skipped.
    const ring = ringAt(memory, session, worker);
    Atomics.store(words, ring + RING_TAIL, Atomics.load(words, ring + RING_HEAD));
  }
  Atomics.store(words, wordAt(session, SessionWord.ACTIVE), 1);
  announceChange(memory);
  return generation;
}

/** Renew the lease of a session. @returns false if the session has expired and is no longer the reader's */
export function renewSession({ words }: CaptureMemory, claim: Claim, nowMs: number): boolean {
  const until = leaseFrom(nowMs);
  const at = wordAt(claim.session, SessionWord.UNTIL);
  if (Atomics.compareExchange(words, at, claim.until, until) !== claim.until) return false;
  claim.until = until;
  return true;
}

/** End a session, if it is still the reader's. Workers write no more once they have noticed. */
export function endSession(memory: CaptureMemory, claim: Claim): void {
  const { words } = memory;
  if (Atomics.load(words, wordAt(claim.session, SessionWord.UNTIL)) !== claim.until) return;
  Atomics.store(words, wordAt(claim.session, SessionWord.ACTIVE), 0);
  announceChange(memory);
  Atomics.compareExchange(words, wordAt(claim.session, SessionWord.UNTIL), claim.until, 0);
}

/** End sessions whose reader has not renewed its lease in time. Workers call this periodically while they capture. */
export function expireSessions(memory: CaptureMemory, nowMs: number): void {
  const { words } = memory;
  for (let session = 0; session < SESSIONS; session++) {
    const at = wordAt(session, SessionWord.UNTIL);
    const until = words[at];
    if (until === 0 || !isExpired(until, nowMs)) continue;
    if (Atomics.compareExchange(words, at, until, 0) !== until) continue;
    Atomics.store(words, wordAt(session, SessionWord.ACTIVE), 0);
    announceChange(memory);
  }
}

/** Number of sessions that are claimed, also by a reader whose lease has just expired. */
export function sessionsInUse({ words }: CaptureMemory): number {
  let used = 0;
  for (let session = 0; session < SESSIONS; session++) {
    if (Atomics.load(words, wordAt(session, SessionWord.UNTIL)) !== 0) used++;
  }
  return used;
}

export interface ActiveSession extends CaptureSettings {
  readonly session: number;
  readonly generation: number;
}

/** The active sessions, with copies of their programs. */
export function activeSessions({ words }: CaptureMemory): ActiveSession[] {
  const active: ActiveSession[] = [];
  for (let session = 0; session < SESSIONS; session++) {
    if (Atomics.load(words, wordAt(session, SessionWord.ACTIVE)) === 0) continue;
    const program = wordAt(session, SETTINGS_WORDS);
    active.push({
      session,
      generation: words[wordAt(session, SessionWord.GENERATION)],
      points: words[wordAt(session, SessionWord.POINTS)],
      snapBytes: words[wordAt(session, SessionWord.SNAP)],
      port: words[wordAt(session, SessionWord.PORT)],
      program: words.slice(program, program + words[wordAt(session, SessionWord.PROGRAM_WORDS)]),
    });
  }
  return active;
}
