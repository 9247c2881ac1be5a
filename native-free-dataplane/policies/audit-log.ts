/**
 * The last connections that an audited policy would have denied. Any worker writes, any process reads: a writer takes a
 * number, and stores it in its record last, so that a reader knows a record that is complete. Old records are
 * overwritten; what a reader misses it can count by the numbers.
 */
import { AUDIT_SLOTS, AUDIT_WORDS, type PolicyTable } from './table.ts';

const AuditWord = {
  /** Number of the record plus 1. */
  SEQUENCE: 0,
  /** Number of the rule (rules.ts). */
  RULE: 1,
  /** Low 32 bits of the monotonic milliseconds. */
  TIME: 2,
  PROTOCOL: 3,
  PORT: 4,
  SOURCE: 8,
  TARGET: 12,
} as const;

/** A connection that would have been denied. */
export interface Audited {
  readonly rule: number;
  readonly timeMs: number;
  readonly protocol: number;
  /** 0 for protocols without ports. */
  readonly port: number;
  /** Four words each. */
  readonly source: Int32Array;
  readonly target: Int32Array;
}

const slotAt = ({ auditAt }: PolicyTable, number: number): number =>
  auditAt + 1 + (number & (AUDIT_SLOTS - 1)) * AUDIT_WORDS;

/** Log a connection. @param key its trafficKey (table.ts) */
export function noteAudited(table: PolicyTable, rule: number, key: number, ends: AuditedEnds): void {
  const { words, auditAt } = table;
  const number = Atomics.add(words, auditAt, 1);
  const at = slotAt(table, number);
  Atomics.store(words, at + AuditWord.SEQUENCE, 0);
  words[at + AuditWord.RULE] = rule;
  words[at + AuditWord.TIME] = ends.nowMs;
  words[at + AuditWord.PROTOCOL] = key >>> 16;
  words[at + AuditWord.PORT] = key & 0xffff;
  for (let i = 0; i < 4; i++) {
    words[at + AuditWord.SOURCE + i] = ends.source[i];
    words[at + AuditWord.TARGET + i] = ends.target[i];
  }
  Atomics.store(words, at + AuditWord.SEQUENCE, (number + 1) | 0);
}

export interface AuditedEnds {
  readonly source: Int32Array;
  readonly target: Int32Array;
  readonly nowMs: number;
}

/** Number of the next record. */
export function auditHead({ words, auditAt }: PolicyTable): number {
  return Atomics.load(words, auditAt);
}

/** The record with this number; undefined if it is not written yet, or overwritten. */
export function readAudited(table: PolicyTable, number: number): Audited | undefined {
  const { words } = table;
  const at = slotAt(table, number);
  const sequence = (number + 1) | 0;
  if (Atomics.load(words, at + AuditWord.SEQUENCE) !== sequence) return undefined;
  const found = {
    rule: words[at + AuditWord.RULE],
    timeMs: words[at + AuditWord.TIME],
    protocol: words[at + AuditWord.PROTOCOL],
    port: words[at + AuditWord.PORT],
    source: words.slice(at + AuditWord.SOURCE, at + AuditWord.SOURCE + 4),
    target: words.slice(at + AuditWord.TARGET, at + AuditWord.TARGET + 4),
  };
  return Atomics.load(words, at + AuditWord.SEQUENCE) === sequence ? found : undefined;
}
