/**
 * The busiest connections of a node: the bytes of every record are compared with those of the previous look. Only the
 * busiest are turned into text, so that a full table costs milliseconds.
 */
import { type Conntrack, Rec, recordAt, recordsUsed, Status } from '../../../native-free-dataplane/conntrack/record.ts';
import type { FlowText } from '../../../native-free-dataplane/print/flow.ts';
import { flowText } from '../../../native-free-dataplane/print/record.ts';
import { monotonicMs } from '../../linux/clock.ts';
import { mapTable } from './conntrack.ts';

export interface BusyFlow {
  readonly node: string;
  readonly flow: FlowText;
  /** Of both directions, since the previous look. */
  readonly bytes: number;
  readonly packets: number;
}

export class FlowRates {
  private readonly node: string;
  private readonly table: Conntrack;
  private readonly unmap: () => void;
  private readonly bytes: Float64Array;
  private readonly packets: Float64Array;
  /** Distinguishes connections that had the same record one after another. */
  private readonly tuples: Int32Array;

  /** @throws CliError as mapTable */
  constructor(node: string) {
    const { table, close } = mapTable(node);
    this.node = node;
    this.table = table;
    this.unmap = close;
    this.bytes = new Float64Array(table.max);
    this.packets = new Float64Array(table.max);
    this.tuples = new Int32Array(table.max);
    this.look(0);
  }

  /** The `most` connections with the most bytes since the previous look, the busiest first. */
  look(most: number): BusyFlow[] {
    const { node, table } = this;
    const { words, doubles } = table;
    const busiest: { record: number; bytes: number; packets: number }[] = [];
    const used = recordsUsed(table);
    for (let record = 0; record < used; record++) {
      const moved = this.moved(record);
      if (moved.bytes <= 0 || most === 0) continue;
      const least = busiest.at(-1);
      if (busiest.length === most && least !== undefined && least.bytes >= moved.bytes) continue;
      const place = busiest.findIndex(({ bytes }) => bytes < moved.bytes);
      busiest.splice(place < 0 ? busiest.length : place, 0, { record, ...moved });
      if (busiest.length > most) busiest.pop();
    }
    const nowMs = monotonicMs() | 0;
    return busiest.map(({ record, bytes, packets }) => ({
      node,
      flow: flowText(table, words, doubles, recordAt(table, record), nowMs),
      bytes,
      packets,
    }));
  }

  close(): void {
    this.unmap();
  }

  /** What a record has carried since the previous look. */
  private moved(record: number): { bytes: number; packets: number } {
    const { table, bytes, packets, tuples } = this;
    const { words, doubles } = table;
    const at = recordAt(table, record);
    const live = ((words[at + Rec.META] as number) & (Status.CONFIRMED | Status.DEAD)) === Status.CONFIRMED;
    let tuple = 0;
    for (let i = 0; i < 2 * table.tupleWords; i++) tuple = (Math.imul(tuple, 31) + words[at + Rec.TUPLES + i]!) | 0;
    const allBytes = doubles[(at + Rec.BYTES_ORIGINAL) >> 1]! + doubles[(at + Rec.BYTES_REPLY) >> 1]!;
    const allPackets = (words[at + Rec.PACKETS_ORIGINAL]! >>> 0) + (words[at + Rec.PACKETS_REPLY]! >>> 0);
    const same = tuples[record] === tuple && allBytes >= bytes[record]!;
    const result = {
      bytes: live ? allBytes - (same ? bytes[record]! : 0) : 0,
      packets: live ? allPackets - (same ? packets[record]! : 0) : 0,
    };
    tuples[record] = tuple;
    bytes[record] = allBytes;
    packets[record] = allPackets;
    return result;
  }
}
