/**
 * Datagrams in fragments: which ports the first fragment had, so that later ones follow its connection, and copies of
 * those that came before it. Nothing is put together: fragments are forwarded as fragments.
 *
 * Private to one worker, as all fragments of a datagram reach the same one: the kernel steers a TAP's queues by a flow
 * hash that leaves the ports out of every fragment (linux net/core/flow_dissector.c, FLOW_DIS_IS_FRAGMENT).
 *
 * Bounded on every side: DATAGRAMS at once, oldest given up first; HELD copies; RANGES per datagram; each fragment
 * costs one hash chain and one pass over at most RANGES pairs (FragmentSmack, CVE-2018-5391, was a longer walk).
 * Overlap kills the datagram (RFC 5722 §4; linux ip_fragment.c does so for IPv4 as well); an exact duplicate is an
 * overlap too.
 */
import type { HashTables } from './hash.ts';
import { hashWord } from './hash.ts';

const DATAGRAMS = 1024;
const HEADS = 2048;
const RANGES = 64;
const HELD = 256;
/** Largest copy kept: a fragment of a 9000-byte link with its Ethernet header. */
const HELD_BYTES = 9216;
/** RFC 791 suggests 15 s at least; linux ipfrag_time is 30. */
const TIMEOUT_MS = 30_000;

const KEY_WORDS = 10;

/** States of a datagram. */
const FREE = 0;
const WAITING = 1;
const KNOWN = 2;
const DEAD = 3;

export interface FragmentTable {
  readonly keys: Int32Array;
  readonly state: Uint8Array;
  readonly ports: Int32Array;
  readonly expires: Float64Array;
  readonly rangeCount: Uint8Array;
  readonly ranges: Int32Array;
  readonly heads: Int32Array;
  readonly next: Int32Array;
  /** Copies: bytes, length, port they came in by, next copy of the same datagram. */
  readonly held: Uint8Array;
  readonly heldLength: Int32Array;
  readonly heldPort: Int32Array;
  readonly heldNext: Int32Array;
  readonly firstHeld: Int32Array;
  /** Key asked for; filled by the caller. */
  readonly key: Int32Array;
  freeHeld: number;
  turn: number;
  /** Datagram whose copies may go on now, -1 = none. */
  ready: number;
}

/** An empty table; some 3 MiB, touched only when fragments come. */
export function createFragmentTable(): FragmentTable {
  const heldNext = new Int32Array(HELD);
  for (let i = 0; i < HELD; i++) heldNext[i] = i + 1 < HELD ? i + 1 : -1;
  return {
    keys: new Int32Array(DATAGRAMS * KEY_WORDS),
    state: new Uint8Array(DATAGRAMS),
    ports: new Int32Array(DATAGRAMS),
    expires: new Float64Array(DATAGRAMS),
    rangeCount: new Uint8Array(DATAGRAMS),
    ranges: new Int32Array(DATAGRAMS * RANGES * 2),
    heads: new Int32Array(HEADS).fill(-1),
    next: new Int32Array(DATAGRAMS).fill(-1),
    held: new Uint8Array(HELD * HELD_BYTES),
    heldLength: new Int32Array(HELD),
    heldPort: new Int32Array(HELD),
    heldNext,
    firstHeld: new Int32Array(DATAGRAMS).fill(-1),
    key: new Int32Array(KEY_WORDS),
    freeHeld: 0,
    turn: 0,
    ready: -1,
  };
}

function headOf(hash: HashTables, words: Int32Array, at: number): number {
  let mixed = 0;
  for (let i = 0; i < KEY_WORDS; i++) mixed ^= hashWord(hash, i, words[at + i]);
  return mixed & (HEADS - 1);
}

/** Datagram with `table.key`, or -1. One past its time counts as gone. */
export function findDatagram(table: FragmentTable, hash: HashTables, nowMs: number): number {
  const { key, keys } = table;
  for (let slot = table.heads[headOf(hash, key, 0)]; slot >= 0; slot = table.next[slot]) {
    let same = true;
    for (let i = 0; i < KEY_WORDS; i++) if (keys[slot * KEY_WORDS + i] !== key[i]) same = false;
    if (!same) continue;
    if (table.expires[slot] > nowMs) return slot;
    giveUp(table, hash, slot);
    return -1;
  }
  return -1;
}

/** Forget a datagram and its copies. */
function giveUp(table: FragmentTable, hash: HashTables, slot: number): void {
  const head = headOf(hash, table.keys, slot * KEY_WORDS);
  let before = -1;
  for (let at = table.heads[head]; at >= 0 && at !== slot; at = table.next[at]) before = at;
  if (before < 0) table.heads[head] = table.next[slot];
  else table.next[before] = table.next[slot];
  dropHeld(table, slot);
  table.state[slot] = FREE;
}

function dropHeld(table: FragmentTable, slot: number): void {
  for (let copy = table.firstHeld[slot]; copy >= 0; ) {
    const following = table.heldNext[copy];
    table.heldNext[copy] = table.freeHeld;
    table.freeHeld = copy;
    copy = following;
  }
  table.firstHeld[slot] = -1;
}

/** A new datagram for `table.key`; the oldest gives way when the table is full. */
export function addDatagram(table: FragmentTable, hash: HashTables, nowMs: number): number {
  const slot = table.turn;
  table.turn = (slot + 1) % DATAGRAMS;
  if (table.state[slot] !== FREE) giveUp(table, hash, slot);
  table.keys.set(table.key, slot * KEY_WORDS);
  const head = headOf(hash, table.key, 0);
  table.next[slot] = table.heads[head];
  table.heads[head] = slot;
  table.state[slot] = WAITING;
  table.rangeCount[slot] = 0;
  table.firstHeld[slot] = -1;
  table.expires[slot] = nowMs + TIMEOUT_MS;
  return slot;
}

/** Note bytes [from, to) of the datagram. False when they overlap others, or are too many pieces: it is dead then. */
export function coverRange(table: FragmentTable, slot: number, from: number, to: number): boolean {
  if (table.state[slot] === DEAD) return false;
  const { ranges } = table;
  const base = slot * RANGES * 2;
  const count = table.rangeCount[slot];
  for (let i = 0; i < count; i++) {
    if (from < ranges[base + 2 * i + 1] && to > ranges[base + 2 * i]) return kill(table, slot);
  }
  // Neighbours grow together, so that fragments in order need one pair only.
  for (let i = 0; i < count; i++) {
    if (ranges[base + 2 * i + 1] === from) {
      ranges[base + 2 * i + 1] = to;
      return true;
    }
    if (ranges[base + 2 * i] === to) {
      ranges[base + 2 * i] = from;
      return true;
    }
  }
  if (count === RANGES) return kill(table, slot);
  ranges[base + 2 * count] = from;
  ranges[base + 2 * count + 1] = to;
  table.rangeCount[slot] = count + 1;
  return true;
}

function kill(table: FragmentTable, slot: number): boolean {
  table.state[slot] = DEAD;
  dropHeld(table, slot);
  return false;
}

/** The first fragment is known: later ones have these ports. Copies held so far may go on (takeHeld). */
export function learnPorts(table: FragmentTable, slot: number, ports: number): void {
  table.ports[slot] = ports;
  table.state[slot] = KNOWN;
  if (table.firstHeld[slot] >= 0) table.ready = slot;
}

/** Is the first fragment known? */
export function portsKnown(table: FragmentTable, slot: number): boolean {
  return table.state[slot] === KNOWN;
}

/** Keep a copy of the frame bytes [start, end). False when there is no room. */
export function holdFragment(table: FragmentTable, slot: number, bytes: Uint8Array, start: number, end: number, inPort: number): boolean {
  const copy = table.freeHeld;
  const length = end - start;
  if (copy < 0 || length > HELD_BYTES) return false;
  table.freeHeld = table.heldNext[copy];
  for (let i = 0; i < length; i++) table.held[copy * HELD_BYTES + i] = bytes[start + i];
  table.heldLength[copy] = length;
  table.heldPort[copy] = inPort;
  table.heldNext[copy] = table.firstHeld[slot];
  table.firstHeld[slot] = copy;
  return true;
}

/**
 * Move a copy that may go on to `bytes` at `at`.
 * @returns its length, 0 when there is none; the port it came in by is then in `table.key[0]`
 */
export function takeHeld(table: FragmentTable, bytes: Uint8Array, at: number): number {
  const slot = table.ready;
  if (slot < 0) return 0;
  const copy = table.firstHeld[slot];
  if (copy < 0) {
    table.ready = -1;
    return 0;
  }
  table.firstHeld[slot] = table.heldNext[copy];
  table.heldNext[copy] = table.freeHeld;
  table.freeHeld = copy;
  const length = table.heldLength[copy];
  for (let i = 0; i < length; i++) bytes[at + i] = table.held[copy * HELD_BYTES + i];
  table.key[0] = table.heldPort[copy];
  return length;
}
