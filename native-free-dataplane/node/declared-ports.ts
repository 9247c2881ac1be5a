/**
 * Declared ports: which (pod, protocol, port) accept connections under the port policy "declared".
 *
 * A keyed open-addressing set, read for the first packet of a connection. A slot's key is stored last. Only the agent
 * writes it.
 */
import { hashWord } from '../shared/hash.ts';
import { DECLARED_WORDS, DeclaredWord, GONE, type NodeTable } from './config.ts';

const { KEY, PORT } = DeclaredWord;

/** Never 0, and never negative. */
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
    if (declared[at + KEY] === 0) return false;
    if (declared[at + KEY] === key && declared[at + PORT] === port) return true;
  }
  return false;
}

/** What the pod behind this hop declares, in no particular order; for people, never on a packet's path. */
export function declaredPorts({ declared }: NodeTable, hop: number): { protocol: number; port: number }[] {
  const found: { protocol: number; port: number }[] = [];
  for (let at = 0; at < declared.length; at += DECLARED_WORDS) {
    const key = declared[at + KEY];
    if (key > 0 && key === keyWord(hop, key & 0xff)) found.push({ protocol: key & 0xff, port: declared[at + PORT] });
  }
  return found;
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
    if (declared[at + KEY] !== 0 && declared[at + KEY] !== GONE) continue;
    declared[at + PORT] = port;
    Atomics.store(declared, at + KEY, key);
    return true;
  }
  return false;
}

/** Remove every declared port of a hop. */
export function undeclarePorts(table: NodeTable, hop: number): void {
  const { declared } = table;
  for (let at = 0; at < declared.length; at += DECLARED_WORDS) {
    if (declared[at + KEY] > 0 && (declared[at + KEY] & 0x3fffff00) === hop << 8)
      Atomics.store(declared, at + KEY, GONE);
  }
}
