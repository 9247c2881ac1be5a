/** A fragment table and workers that receive datagrams in pieces: what the table's tests have in common. */
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
    if (from === 0)
      return RESULT_NAMES[fragmentFirst(table, number, nowMs, to, more ? 1 : 0, PORTS + id, SEQUENCE - id)] ?? '?';
    const end = 258 + 34 + to - from;
    for (let i = 0; i < end - 258; i++) arena[258 + i] = (id * 31 + from + i) & 255;
    const tag = id * 100_000 + from;
    const result = fragmentLater(table, number, nowMs, from, to, more ? 1 : 0, arena, 258, end, tag);
    if (result === FragmentResult.FOUND) assert.equal([table.ports, table.sequence], [PORTS + id, SEQUENCE - id]);
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
      assert.is(
        fragmentLater(table, number, this.nowMs, from, from + length - 34, 1, arena, 258, 258 + length, 0),
        FragmentResult.FOUND,
      );
      assert.equal([table.ports, table.sequence], [PORTS + id, SEQUENCE - id]);
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
