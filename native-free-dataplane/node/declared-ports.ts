/**
 * Declared ports: which (pod, protocol, port) may be connected to under the port policy "declared".
 *
 * A keyed open-addressing set, read for the first packet of a connection. Slot: (hop, protocol) and port, each plus
 * one so that no live slot is zero. The first word is stored last. Single writer: the agent.
 */
import { hashWord } from '../shared/hash.ts';
import { DECLARED_WORDS, type NodeTable } from './config.ts';

const GONE = -1;

const keyWord = (hop: number, protocol: number): number => (hop << 8) | protocol | 0x40000000;

function startSlot(table: NodeTable, key: number, port: number): number {
  return (hashWord(table.hash, 0, key) ^ hashWord(table.hash, 1, port)) & table.declaredMask;
}

/** Does the pod behind this hop declare the port? */
export function portDeclared(table: NodeTable, hop: number, protocol: number, port: number): boolean {
  const { declared, declaredMask } = table;
  const key = keyWord(hop, protocol);
  for (
    let probe = 0, slot = startSlot(table, key, port);
    probe <= declaredMask;
    probe++, slot = (slot + 1) & declaredMask
  ) {
    const at = slot * DECLARED_WORDS;
    if (declared[at] === 0) return false;
    if (declared[at] === key && declared[at + 1] === port) return true;
  }
  return false;
}

/** Declare a port of a pod. @returns false when the table is full */
export function declarePort(table: NodeTable, hop: number, protocol: number, port: number): boolean {
  if (portDeclared(table, hop, protocol, port)) return true;
  const { declared, declaredMask } = table;
  const key = keyWord(hop, protocol);
  for (
    let probe = 0, slot = startSlot(table, key, port);
    probe <= declaredMask;
    probe++, slot = (slot + 1) & declaredMask
  ) {
    const at = slot * DECLARED_WORDS;
    if (declared[at] !== 0 && declared[at] !== GONE) continue;
    declared[at + 1] = port;
    Atomics.store(declared, at, key);
    return true;
  }
  return false;
}

/** Forget every declared port of a hop. */
export function undeclarePorts(table: NodeTable, hop: number): void {
  const { declared } = table;
  for (let at = 0; at < declared.length; at += DECLARED_WORDS) {
    if (declared[at] > 0 && (declared[at] & 0x3fffff00) === hop << 8) Atomics.store(declared, at, GONE);
  }
}
