/**
 * Lifetime of connection records: allocation, the timer wheel, eviction when the table is full.
 *
 * Timer wheel: one per worker, 256 slots of 64 ms, singly linked. A record is examined when its slot comes up, after 16
 * s at most, and rescheduled if it has not expired. Refreshing a connection is therefore one store (EXPIRES), and
 * shortening its lifetime needs no unlinking. The work per tick is bounded.
 *
 * Eviction: below the low-water mark every new connection first evicts one that is not assured, or a TCP connection that
 * is closed, from any wheel. Assured connections in use are never evicted (linux early_drop and gc_worker_can_early_drop
 * give the same guarantee). If only those are left, the new connection is refused.
 *
 * Locks: FREE_LOCK guards the free queue and the watermark; each wheel has a lock for its lists. The full list is in
 * record.ts. No function here holds two locks at a time, and none is called with a lock held.
 */
import { PROTOCOL_ICMP, PROTOCOL_TCP } from '../protocols.ts';
import { MAX_WORKERS } from '../shared/layout.ts';
import { lock, releaseAll, unlock } from '../shared/spin-lock.ts';
import { type Conntrack, Rec, recordAt, StateWord, Status, WHEEL_SLOTS, WHEEL_TICK_SHIFT } from './record.ts';
import { accountOfRecord, isShareUsed } from './shares.ts';
import { tcpIsClosed } from './tcp/reuse.ts';
import { removeRecord } from './tuple-index.ts';

/** Time before a freed record is reused, so that a packet that has just looked it up is finished with it. */
export const QUARANTINE_MS = 20;
/** The furthest ahead a record is scheduled, in ticks. */
const HORIZON_TICKS: number = WHEEL_SLOTS - 2;
/** Records examined per tick, and per search for a record to evict. */
const TICK_BUDGET = 1024;
const EVICT_BUDGET = 64;
/** In place of an account: a connection of any. */
const ANYONE = -1;
/** Eviction keeps 1/2^LOW_WATER_SHIFT of the table free. */
const LOW_WATER_SHIFT = 4;

const wheelLock = (worker: number): number => StateWord.WHEELS + worker * 3;
const wheelPosition = (worker: number): number => StateWord.WHEELS + worker * 3 + 1;
const wheelCursor = (worker: number): number => StateWord.WHEELS + worker * 3 + 2;

/** Begin a worker's wheel, which is empty, at the current time. */
export function startWheel({ state }: Conntrack, worker: number, nowMs: number): void {
  state[wheelPosition(worker)] = (nowMs | 0) >> WHEEL_TICK_SHIFT;
}

/** Records available for allocation, including those in quarantine. */
export function freeRecords(table: Conntrack): number {
  return table.max - table.state[StateWord.WATERMARK] + table.state[StateWord.FREE_COUNT];
}

/**
 * Allocate a record; -1 if every record is assured and cannot be evicted.
 * @param owner number of the calling worker
 */
export function allocateRecord(table: Conntrack, owner: number, nowMs: number): number {
  if (freeRecords(table) <= table.max >> LOW_WATER_SHIFT) evict(table, owner, nowMs, ANYONE);
  const { state, words } = table;
  let record = -1;
  lock(state, StateWord.FREE_LOCK, owner);
  const head = state[StateWord.FREE_HEAD] - 1;
  const rested = head < 0 ? -1 : ((nowMs | 0) - words[recordAt(table, head) + Rec.EXPIRES]) | 0;
  // A freeing time in the future: a packet in flight refreshed the record. Reset it, or it would block the queue for a
  // day.
  if (head >= 0 && rested < -QUARANTINE_MS) words[recordAt(table, head) + Rec.EXPIRES] = nowMs | 0;
  if (head >= 0 && rested >= QUARANTINE_MS) {
    record = head;
    const next = words[recordAt(table, head) + Rec.LINK];
    state[StateWord.FREE_HEAD] = next;
    if (next === 0) state[StateWord.FREE_TAIL] = 0;
    state[StateWord.FREE_COUNT]--;
  } else if (state[StateWord.WATERMARK] < table.max) {
    record = state[StateWord.WATERMARK]++;
  }
  unlock(state, StateWord.FREE_LOCK);
  return record;
}

/** Free a record that was never inserted, or that is dead and on no wheel. */
export function freeRecord(table: Conntrack, record: number, owner: number, nowMs: number): void {
  const { state, words } = table;
  const at = recordAt(table, record);
  // Leave all other fields: a packet that has just looked the record up is translated as if it had arrived earlier.
  Atomics.or(words, at + Rec.META, Status.DEAD);
  words[at + Rec.EXPIRES] = nowMs | 0;
  words[at + Rec.LINK] = 0;
  lock(state, StateWord.FREE_LOCK, owner);
  const tail = state[StateWord.FREE_TAIL];
  if (tail === 0) state[StateWord.FREE_HEAD] = record + 1;
  else words[recordAt(table, tail - 1) + Rec.LINK] = record + 1;
  state[StateWord.FREE_TAIL] = record + 1;
  state[StateWord.FREE_COUNT]++;
  unlock(state, StateWord.FREE_LOCK);
}

/**
 * Put a confirmed record on the calling worker's wheel.
 * @param emptied slot being emptied, -1 = none. A record that belongs in it goes into the slot before, so that it comes
 *   up just before it expires and not again in this pass.
 */
export function scheduleRecord(table: Conntrack, record: number, worker: number, nowMs: number, emptied = -1): void {
  const { words } = table;
  const at = recordAt(table, record);
  const now = (nowMs | 0) >> WHEEL_TICK_SHIFT;
  let ahead = (((words[at + Rec.EXPIRES] - (nowMs | 0)) | 0) >> WHEEL_TICK_SHIFT) + 1;
  if (ahead < 1) ahead = 1;
  // Spread long-lived records evenly over the far half, so that no slot has more work than the others. The spread
  // depends on the time too: otherwise records would return to the slot that eviction just emptied, and the newest
  // would be evicted next.
  if (ahead > HORIZON_TICKS) ahead = (WHEEL_SLOTS >> 1) + (Math.imul(record ^ (nowMs << 12), 0x9e3779b1) >>> 25) - 2;
  words[at + Rec.ROUTED] = (words[at + Rec.ROUTED] & 0xffff) | (worker << 16);
  let slot = (now + ahead) & (WHEEL_SLOTS - 1);
  if (slot === emptied) slot = (slot - 1) & (WHEEL_SLOTS - 1);
  pushSlot(table, record, worker, slot, worker);
}

function pushSlot(table: Conntrack, record: number, worker: number, slot: number, caller: number): void {
  const { words, wheels, state } = table;
  const at = worker * WHEEL_SLOTS + slot;
  lock(state, wheelLock(worker), caller);
  words[recordAt(table, record) + Rec.LINK] = wheels[at];
  wheels[at] = record + 1;
  unlock(state, wheelLock(worker));
}

/** Pop the first record of a slot; -1 if the slot is empty. */
function popSlot(table: Conntrack, worker: number, slot: number, caller: number): number {
  const { words, wheels, state } = table;
  const at = worker * WHEEL_SLOTS + slot;
  if (wheels[at] === 0) return -1;
  lock(state, wheelLock(worker), caller);
  const record = wheels[at] - 1;
  if (record >= 0) wheels[at] = words[recordAt(table, record) + Rec.LINK];
  unlock(state, wheelLock(worker));
  return record;
}

/**
 * Expire due records on the calling worker's wheel, a bounded number per call.
 * @returns records that expired
 */
export function expireRecords(table: Conntrack, worker: number, nowMs: number): number {
  const { state, words } = table;
  const now = (nowMs | 0) >> WHEEL_TICK_SHIFT;
  let position = state[wheelPosition(worker)];
  if (((now - position) | 0) > WHEEL_SLOTS || ((now - position) | 0) < 0) position = (now - WHEEL_SLOTS) | 0;
  let budget = TICK_BUDGET;
  let ended = 0;
  while (((now - position) | 0) > 0) {
    const slot = (position + 1) & (WHEEL_SLOTS - 1);
    for (
      let record = popSlot(table, worker, slot, worker);
      record >= 0;
      record = popSlot(table, worker, slot, worker)
    ) {
      const at = recordAt(table, record);
      if ((words[at + Rec.META] & Status.DEAD) !== 0) {
        freeRecord(table, record, worker, nowMs);
      } else if (((words[at + Rec.EXPIRES] - (nowMs | 0)) | 0) <= 0) {
        noteUnanswered(table, at);
        removeRecord(table, record);
        freeRecord(table, record, worker, nowMs);
        ended++;
      } else {
        scheduleRecord(table, record, worker, nowMs, slot);
      }
      if (--budget === 0) {
        state[wheelPosition(worker)] = position;
        return ended;
      }
    }
    position = (position + 1) | 0;
  }
  state[wheelPosition(worker)] = position;
  return ended;
}

/** A ping that leaves the node ends as sent, and nothing tells whether it came back: an expired query does. */
function noteUnanswered({ words, unanswered }: Conntrack, at: number): void {
  const meta = words[at + Rec.META];
  if (((meta >>> 16) & 0xff) !== PROTOCOL_ICMP || (meta & Status.SNAT) === 0) return;
  const missing = (words[at + Rec.PACKETS_ORIGINAL] - words[at + Rec.PACKETS_REPLY]) | 0;
  if (missing > 0) unanswered[0] += missing;
}

/** Did expireRecords run out of budget with records still due? Then call it again soon, not at the next tick. */
export function isBehind(table: Conntrack, worker: number, nowMs: number): boolean {
  return table.state[wheelPosition(worker)] !== (nowMs | 0) >> WHEEL_TICK_SHIFT;
}

/**
 * May this account have another connection? If it holds as many as it may (shares.ts), one of its own that is closed or not
 * assured makes room.
 */
export function mayHaveRecord(table: Conntrack, account: number, owner: number, nowMs: number): boolean {
  return !isShareUsed(table, account, freeRecords(table)) || evict(table, owner, nowMs, account);
}

/**
 * Evict one connection that is closed or not assured, of one account or of ANYONE. Each wheel has its own eviction cursor.
 * Another record at the cursor is moved one slot back, so that the next search continues where this one stopped. (That
 * slot still comes up within 16 s, which is all a record needs.)
 * @returns true if one was found within the budget
 */
function evict(table: Conntrack, caller: number, nowMs: number, account: number): boolean {
  const { state, words } = table;
  let budget = EVICT_BUDGET;
  for (let turn = 0; turn < table.workers && budget > 0; turn++) {
    const worker = (caller + turn) % table.workers;
    for (let step = 0; step < WHEEL_SLOTS && budget > 0; step++) {
      const slot = state[wheelCursor(worker)] & (WHEEL_SLOTS - 1);
      for (
        let record = popSlot(table, worker, slot, caller);
        record >= 0;
        record = popSlot(table, worker, slot, caller)
      ) {
        const at = recordAt(table, record);
        const meta = words[at + Rec.META];
        if ((meta & Status.DEAD) === 0 && !mayBeEvicted(table, at, account)) {
          pushSlot(table, record, worker, (slot - 1) & (WHEEL_SLOTS - 1), caller);
        } else {
          removeRecord(table, record);
          freeRecord(table, record, caller, nowMs);
          if ((meta & Status.DEAD) === 0) return true;
        }
        if (--budget <= 0) return false;
      }
      state[wheelCursor(worker)] = slot + 1;
    }
  }
  return false;
}

function mayBeEvicted(table: Conntrack, at: number, account: number): boolean {
  const { words } = table;
  if (account !== ANYONE && accountOfRecord(table, at) !== account) return false;
  return (words[at + Rec.META] & Status.ASSURED) === 0 || isClosed(words, at);
}

/** Is it a TCP connection that is closed (linux nf_conntrack_proto_tcp.c tcp_can_early_drop)? */
function isClosed(words: Int32Array, at: number): boolean {
  return ((words[at + Rec.META] >>> 16) & 0xff) === PROTOCOL_TCP && tcpIsClosed(words, at + Rec.TCP);
}

/** Release every lock of a worker thread that has failed, so that others that wait for one go on. */
export function releaseLocksOf(table: Conntrack, worker: number): void {
  releaseAll(table.locks, 0, table.locks.length, worker);
  releaseAll(table.state, StateWord.FREE_LOCK, StateWord.FREE_LOCK + 1, worker);
  for (let w = 0; w < MAX_WORKERS; w++) releaseAll(table.state, wheelLock(w), wheelLock(w) + 1, worker);
}
