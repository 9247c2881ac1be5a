/**
 * The connection table: its memory layout and accessors.
 *
 * A record holds one connection: its original and its reply tuple (the difference between them is the translation), its
 * state, its expiry time and its next hops. Both tuples are in one hash index, so the first packet, every later packet
 * and every reply are found by one look-up.
 *
 * Index: buckets of eight words, two candidate buckets per tuple, at most half full. A word is tag (8 bits) | reference
 * + 1 (24 bits), reference = record << 1 | direction (0 original, 1 reply); 0 is free. Inserting and removing an entry
 * are one compare-and-swap each, so readers take no lock and never see half an entry.
 *
 * Writers and locks (shared/spin-lock.ts). Readers take none.
 *   index words            by compare-and-swap; inserting holds the stripe locks of both tuples' hashes
 *                          (tuple-index.ts)
 *   META                   Atomics.or: any worker with a packet of the connection, and the agent when it removes one
 *   EXPIRES, STREAM_FROM   plain stores by whichever worker has a packet; the last store wins
 *   ROUTED, HOPS           the same; two workers that look up routes at once find the same hops. The wheel's worker
 *                          number, also in ROUTED, is informational
 *   PACKETS_*, BYTES_*     plain additions: exact while each direction stays on one worker, as TAP queues keep it; when
 *                          a direction moves, a packet may go uncounted
 *   TCP                    the stripe lock of the record's number, if the table has several workers (stages/flow.ts)
 *   LINK                   the lock of the list that holds the record: FREE_LOCK, or its wheel's
 *   TUPLES, ENDPOINT       written before the record is inserted, never changed afterwards
 *   FREE_*, WATERMARK      FREE_LOCK; read without it as an estimate
 *   wheels                 the wheel's lock; position: its own worker; cursor: whoever evicts, unlocked (a hint)
 *   mappings               plain stores by any worker; a hint, verified before use (mappings.ts)
 *   flushed                plain stores by whoever flushes; a hint, verified before use (flushed.ts)
 *   shares                 Atomics.add by whoever inserts or removes a record (shares.ts)
 *   settings, hostPorts,   the agent
 *   socketPorts
 * No thread holds two locks, except for the two stripes of an insert. A removed record is not reused before
 * QUARANTINE_MS, which is longer than any packet is in flight.
 *
 * Memory, IPv4: 28 words per record + 16 bytes of index = 128 bytes per connection. The address family is a parameter
 * (`addressWords`): the same code holds IPv6 in 40 words per record.
 */
import { expandSecret, type HashTables } from '../shared/hash.ts';
import {
  H_OWN,
  HEADER_BYTES,
  HEADER_WORDS,
  headerMatches,
  headerSecret,
  MAX_WORKERS,
  TableKind,
  writeHeader,
} from '../shared/layout.ts';
import { defaultTimeouts } from './timeouts.ts';

export const CONNTRACK_LAYOUT = 6;

const H_ADDRESS_WORDS = H_OWN;
const H_MAX = H_OWN + 1;
const H_WORKERS = H_OWN + 2;

/** Shared state of the table, as word offsets in `state`. */
export const StateWord = {
  // 0 is free.
  /** Records ever used: those above were never touched. */
  WATERMARK: 1,
  FREE_LOCK: 2,
  /** Queue of freed records, oldest first: record + 1, 0 = none. */
  FREE_HEAD: 3,
  FREE_TAIL: 4,
  FREE_COUNT: 5,
  /** Number of events published; its low bits are the next slot of the ring (events.ts). */
  EVENT_HEAD: 6,
  /** Until when a follower is attached, in monotonic milliseconds; 0 = no follower. */
  FOLLOWED: 7,
  /** Timestamp for events, in monotonic milliseconds; workers and followers update it while a follower is attached. */
  CLOCK_MS: 8,
  /** The last connection refused because no source port was free: source and destination, protocol << 16 | port. IPv4. */
  REFUSED_SOURCE: 9,
  REFUSED_TARGET: 10,
  REFUSED_PORT: 11,
  /** Microseconds within CLOCK_MS. */
  CLOCK_MICROS: 12,
  /** From here, per worker: lock of its wheel, wheel position in ticks, eviction cursor. */
  WHEELS: 16,
} as const;
const STATE_WORDS = 64;

/** Words of the settings: the timeouts by class (timeouts.ts), then these. Only the agent writes them. */
export const Setting = {
  /** 1: accept segments outside the window (nf_conntrack_tcp_be_liberal). */
  TCP_LIBERAL: 24,
  /** 1: adopt connections that are already established (nf_conntrack_tcp_loose). */
  TCP_LOOSE: 25,
  /** The network of this node's pods: last word of its address and of its mask (shares.ts). 0: not known. */
  PODS_NETWORK: 26,
  PODS_MASK: 27,
} as const;
const SETTING_WORDS = 32;

/** The ring of events; a slot holds a sequence number, a kind, a copy of the record and, in the last two words, the time. */
export const EVENT_SLOTS = 4096;
export const EVENT_WORDS = 48;

/** Mappings of sources to records, by the hash of the source (mappings.ts); a power of two. */
const MAPPING_WORDS = 4096;
export const MAPPING_MASK: number = MAPPING_WORDS - 1;

/** Tuples of flushed connections, by their hash (flushed.ts); a power of two. */
const FLUSHED_WORDS = 65536;
export const FLUSHED_MASK: number = FLUSHED_WORDS - 1;

/** One bit per port (hasPort). Written by the agent. */
const PORT_WORDS = 2048;

/**
 * Connections by account (shares.ts); a power of two, and no fewer than a node has pods. This and the following block lie behind
 * the records, so that the table of an agent that did not have them is enlarged and taken over.
 */
const SHARE_WORDS = 2048;
export const SHARE_MASK: number = SHARE_WORDS - 1;

/** Stripe locks: by a tuple's hash, to make check-and-insert atomic; by a record's number, for its TCP words. */
const LOCK_WORDS = 1024;
export const LOCK_MASK: number = LOCK_WORDS - 1;

export const WHEEL_SLOTS = 256;
export const WHEEL_TICK_SHIFT = 6;

export const BUCKET_WORDS = 8;
export const BUCKET_SHIFT = 3;

/** Words of a record, by name; the tuples follow at TUPLES, each src, dst (addressWords each) and ports. */
export const Rec = {
  /** Status bits (16), protocol (8). */
  META: 0,
  /** Monotonic milliseconds, wrapping int32. In a freed record: when it was freed. */
  EXPIRES: 1,
  /** Next record + 1 in the wheel slot or the free queue. */
  LINK: 2,
  /** Route generation the hops were looked up in (16 bits), worker whose wheel holds the record (8 bits). */
  ROUTED: 3,
  /** Hop of original packets (low 16 bits) and of reply packets (high 16). */
  HOPS: 4,
  /** Id of the endpoint that the connection was balanced to (services/endpoints.ts), 0 = none. */
  ENDPOINT: 5,
  PACKETS_ORIGINAL: 6,
  PACKETS_REPLY: 7,
  /** Doubles (two words, 8-byte aligned). */
  BYTES_ORIGINAL: 8,
  BYTES_REPLY: 10,
  /** Ten words of TCP tracking (tcp/connection.ts). */
  TCP: 12,
  /** UDP only, in the same words: monotonic milliseconds after which an answered connection counts as a stream. */
  STREAM_FROM: 12,
  TUPLES: 22,
} as const;

export const Status = {
  SEEN_REPLY: 1,
  ASSURED: 2,
  CONFIRMED: 4,
  DEAD: 8,
  SNAT: 16,
  DNAT: 32,
  /** Removed by `conntrack flush`: its traffic may go on (flushed.ts). */
  FLUSHED: 64,
  /** UDP that was answered and is still active two seconds after its first packet: gets the longer timeout. */
  STREAM: 128,
} as const;

/** What a connection table is laid out for. */
export interface ConntrackOptions {
  /** 1 for IPv4, 4 for IPv6. */
  readonly addressWords: number;
  /** Capacity in connections; at most 8 million. */
  readonly max: number;
  readonly workers: number;
  readonly secret: Int32Array;
}

/** A connection table as one thread sees it: views of the shared memory, and scratch space of its own. */
export interface Conntrack {
  readonly addressWords: number;
  readonly tupleWords: number;
  readonly recordWords: number;
  readonly max: number;
  readonly workers: number;
  readonly hash: HashTables;
  /** The whole table from its first byte, for code that walks it. */
  readonly words: Int32Array;
  readonly doubles: Float64Array;
  readonly state: Int32Array;
  readonly settings: Int32Array;
  readonly locks: Int32Array;
  readonly events: Int32Array;
  readonly wheels: Int32Array;
  readonly mappings: Int32Array;
  readonly flushed: Int32Array;
  /** Ports that no masqueraded connection may get. */
  readonly hostPorts: Int32Array;
  /** Ports of the node's own sockets. */
  readonly socketPorts: Int32Array;
  readonly shares: Int32Array;
  readonly index: Int32Array;
  readonly bucketMask: number;
  /** Word offset of record 0 in `words`. */
  readonly recordsAt: number;
  /** The tuple to look up: src, dst, ports, protocol. Private to this thread. */
  readonly key: Int32Array;
  /** Reference of the existing entry that the last insert ran into; private to this thread. */
  readonly found: Int32Array;
  /** Masqueraded pings without a reply that expired since they were last counted (lifetime.ts); private to this thread. */
  readonly unanswered: Int32Array;
}

interface Shape {
  tupleWords: number;
  recordWords: number;
  buckets: number;
  indexAt: number;
  recordsAt: number;
  totalWords: number;
}

function shapeOf(addressWords: number, max: number): Shape {
  const tupleWords = 2 * addressWords + 1;
  const recordWords = (Rec.TUPLES + 2 * tupleWords + 1) & ~1;
  let buckets = 1;
  // Two tuples per connection and eight words per bucket, at most half full.
  while (buckets * BUCKET_WORDS < max * 4) buckets *= 2;
  const indexAt =
    HEADER_WORDS +
    STATE_WORDS +
    SETTING_WORDS +
    LOCK_WORDS +
    MAX_WORKERS * WHEEL_SLOTS +
    EVENT_SLOTS * EVENT_WORDS +
    MAPPING_WORDS +
    FLUSHED_WORDS +
    PORT_WORDS;
  const recordsAt = indexAt + buckets * BUCKET_WORDS;
  return {
    tupleWords,
    recordWords,
    buckets,
    indexAt,
    recordsAt,
    totalWords: recordsAt + max * recordWords + SHARE_WORDS + PORT_WORDS,
  };
}

/** Bytes of memory a table takes; records never used cost no physical memory. */
export function conntrackBytes(options: Pick<ConntrackOptions, 'addressWords' | 'max'>): number {
  return shapeOf(options.addressWords, options.max).totalWords * 4;
}

function open(buffer: ArrayBuffer, addressWords: number, max: number, workers: number): Conntrack {
  const shape = shapeOf(addressWords, max);
  const words = new Int32Array(buffer, 0, shape.totalWords);
  const settingsAt = HEADER_WORDS + STATE_WORDS;
  const locksAt = settingsAt + SETTING_WORDS;
  const wheelsAt = locksAt + LOCK_WORDS;
  const eventsAt = wheelsAt + MAX_WORKERS * WHEEL_SLOTS;
  const mappingsAt = eventsAt + EVENT_SLOTS * EVENT_WORDS;
  const flushedAt = mappingsAt + MAPPING_WORDS;
  const hostPortsAt = flushedAt + FLUSHED_WORDS;
  const sharesAt = shape.recordsAt + max * shape.recordWords;
  const socketPortsAt = sharesAt + SHARE_WORDS;
  return {
    addressWords,
    tupleWords: shape.tupleWords,
    recordWords: shape.recordWords,
    max,
    workers,
    hash: expandSecret(headerSecret(words)),
    words,
    doubles: new Float64Array(buffer, 0, shape.totalWords >> 1),
    state: words.subarray(HEADER_WORDS, settingsAt),
    settings: words.subarray(settingsAt, locksAt),
    locks: words.subarray(locksAt, wheelsAt),
    wheels: words.subarray(wheelsAt, eventsAt),
    events: words.subarray(eventsAt, mappingsAt),
    mappings: words.subarray(mappingsAt, flushedAt),
    flushed: words.subarray(flushedAt, hostPortsAt),
    hostPorts: words.subarray(hostPortsAt, shape.indexAt),
    shares: words.subarray(sharesAt, socketPortsAt),
    socketPorts: words.subarray(socketPortsAt, shape.totalWords),
    index: words.subarray(shape.indexAt, shape.recordsAt),
    bucketMask: shape.buckets - 1,
    recordsAt: shape.recordsAt,
    key: new Int32Array(2 * addressWords + 2),
    found: new Int32Array(1),
    unanswered: new Int32Array(1),
  };
}

/**
 * Lay out an empty table in zeroed memory.
 * @param buffer at least conntrackBytes(options) bytes
 */
export function createConntrack(buffer: ArrayBuffer, options: ConntrackOptions): Conntrack {
  const words = new Int32Array(buffer);
  words[H_ADDRESS_WORDS] = options.addressWords;
  words[H_MAX] = options.max;
  words[H_WORKERS] = options.workers;
  writeHeader(words, TableKind.CONNTRACK, CONNTRACK_LAYOUT, options.secret);
  const table = open(buffer, options.addressWords, options.max, options.workers);
  table.settings.set(defaultTimeouts());
  table.settings[Setting.TCP_LOOSE] = 1;
  return table;
}

/** Map a table that another thread or process created. Undefined if the memory does not hold one of this layout. */
export function attachConntrack(buffer: ArrayBuffer): Conntrack | undefined {
  if (buffer.byteLength < HEADER_BYTES) return undefined;
  const words = new Int32Array(buffer, 0, buffer.byteLength >> 2);
  if (!headerMatches(words, TableKind.CONNTRACK, CONNTRACK_LAYOUT)) return undefined;
  const addressWords = words[H_ADDRESS_WORDS];
  const max = words[H_MAX];
  if (buffer.byteLength < conntrackBytes({ addressWords, max })) return undefined;
  return open(buffer, addressWords, max, words[H_WORKERS]);
}

/** First word of a record in `words`. */
export function recordAt(table: Conntrack, record: number): number {
  return table.recordsAt + record * table.recordWords;
}

/** First word of one of a record's tuples. @param direction 0 original, 1 reply */
export function tupleAt(table: Conntrack, record: number, direction: number): number {
  return table.recordsAt + record * table.recordWords + Rec.TUPLES + direction * table.tupleWords;
}

/** Is the port in this bitmap, `hostPorts` or `socketPorts`? */
export function hasPort(bits: Int32Array, port: number): boolean {
  return ((bits[port >>> 5] >>> (port & 31)) & 1) !== 0;
}

/** How many records were ever used: they are the first ones. Within bounds, whatever the memory of a former agent holds. */
export function recordsUsed({ state, max }: Conntrack): number {
  return Math.min(Math.max(state[StateWord.WATERMARK], 0), max);
}
