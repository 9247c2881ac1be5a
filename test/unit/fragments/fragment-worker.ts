/** A fragment table and workers that receive fragmented datagrams: shared by the table's tests. */
import * as assert from 'uvu/assert';
import { FragmentWord } from '../../../native-free-dataplane/fragments/slots.ts';
import {
  createFragments,
  FragmentResult,
  type FragmentTable,
  fragmentFirst,
  fragmentLater,
  fragmentsBytes,
  takeHeld,
} from '../../../native-free-dataplane/fragments/table.ts';

const SECRET = Int32Array.of(5, 6, 7, 8);
const PORTS = (4000 << 16) | 53;
const SEQUENCE = 0x7fff0000;
const RESULT_NAMES = Object.fromEntries(Object.entries(FragmentResult).map(([name, value]) => [value, name]));

interface Sizes {
  maxDatagrams?: number;
  heldBytes?: number;
}

export function memory(sizes: Sizes = {}): { buffer: ArrayBuffer; table: FragmentTable } {
  const buffer = new ArrayBuffer(fragmentsBytes(sizes));
  return { buffer, table: createFragments(buffer, { ...sizes, secret: SECRET }) };
}

/** A worker's view of the table. What it receives lies in its arena as 34 bytes of headers and the payload. */
export class Worker {
  readonly table: FragmentTable;
  readonly arena = new Uint8Array(256 * 1024);
  readonly number: number;
  nowMs = 1000;

  constructor(table: FragmentTable, number = 0) {
    this.table = table;
    this.number = number;
  }

  /** Receive payload [from, to) of datagram `id`; the name of the result. */
  receive(id: number, from: number, to: number, more: boolean, source = 1): string {
    const { table, arena, number, nowMs } = this;
    table.key.fill(0);
    table.key[3] = source;
    table.key[7] = 99;
    table.key[8] = id;
    table.key[9] = (17 << 8) | 4;
    const { fragment } = table;
    Object.assign(fragment, { from, to, more: more ? 1 : 0 });
    if (from === 0) {
      Object.assign(fragment, { ports: PORTS + id, sequence: SEQUENCE - id });
      return RESULT_NAMES[fragmentFirst(table, number, nowMs)] ?? '?';
    }
    const end = 258 + 34 + to - from;
    for (let i = 0; i < end - 258; i++) arena[258 + i] = (id * 31 + from + i) & 255;
    Object.assign(fragment, { start: 258, end, tag: id * 100_000 + from, ports: 0, sequence: 0 });
    const result = fragmentLater(table, number, nowMs, arena);
    if (result === FragmentResult.FOUND) assert.equal([fragment.ports, fragment.sequence], [PORTS + id, SEQUENCE - id]);
    return RESULT_NAMES[result] ?? '?';
  }

  /** Tags of the copies that a first fragment released, each checked byte by byte and sent through again. */
  released(): number[] {
    const { table, arena, number } = this;
    const tags: number[] = [];
    for (let length = takeHeld(table, number, arena, 258); length > 0; length = takeHeld(table, number, arena, 258)) {
      const id = Math.floor(table.tag / 100_000);
      const from = table.tag % 100_000;
      for (let i = 0; i < length; i++) {
        if (arena[258 + i] !== ((id * 31 + from + i) & 255)) assert.unreachable(`byte ${i} of ${table.tag}`);
      }
      tags.push(from);
      const { fragment } = table;
      Object.assign(fragment, { from, to: from + length - 34, more: 1, start: 258, end: 258 + length, tag: 0 });
      assert.is(fragmentLater(table, number, this.nowMs, arena), FragmentResult.FOUND);
      assert.equal([fragment.ports, fragment.sequence], [PORTS + id, SEQUENCE - id]);
    }
    return tags;
  }

  get datagrams(): number {
    return this.table.words[FragmentWord.COUNT] as number;
  }
}

/** A datagram in four fragments. */
export const PIECES: readonly [from: number, to: number, more: boolean][] = [
  [0, 1480, true],
  [1480, 2960, true],
  [2960, 4440, true],
  [4440, 5000, false],
];
