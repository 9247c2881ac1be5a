/** Prints flows in one of Hubble's formats. */
import type { Flow, FlowResponse } from '../../observe/hubble/flow.ts';
import {
  DICT_SEPARATOR,
  type PrintOptions,
  printCompact,
  printDict,
  tableHeader,
  tableRow,
} from '../../observe/hubble/print.ts';
import { print } from './output.ts';
import { layOut } from './table.ts';

export const FLOW_FORMATS = ['compact', 'table', 'dict', 'json', 'jsonpb'] as const;
export type FlowFormat = (typeof FLOW_FORMATS)[number];

/** Most lines that are written at once. */
const MAX_LINES = 256;

export class FlowPrinter {
  private readonly format: FlowFormat;
  private readonly options: PrintOptions;
  /** Rows that wait for the end; undefined while flows are followed, when the end is not awaited. */
  private readonly rows: string[][] | undefined;
  private readonly widths: number[] = [];
  private printed = 0;
  /** Lines that are not written yet. */
  private lines: string[] = [];

  /** @param following flows are printed as they come, so that the columns of a table can only grow */
  constructor(format: FlowFormat, options: PrintOptions, following: boolean) {
    this.format = format;
    this.options = options;
    this.rows = following ? undefined : [];
  }

  flow(flow: Flow): void {
    if (this.format === 'compact') this.line(printCompact(flow, this.options));
    else if (this.format === 'table') {
      if (this.printed === 0) this.row(tableHeader(this.options));
      this.row(tableRow(flow, this.options));
    } else if (this.format === 'dict') {
      if (this.printed > 0) this.line(DICT_SEPARATOR);
      this.line(printDict(flow, this.options));
    } else this.response({ flow, node_name: flow.node_name, time: flow.time });
    this.printed++;
  }

  /** @returns whether the format has a form for lost events */
  lost(node: string, count: number, time: string): boolean {
    if (this.format !== 'json' && this.format !== 'jsonpb') return false;
    const lost_events = { source: 'HUBBLE_RING_BUFFER', num_events_lost: String(count) } as const;
    this.response({ lost_events, node_name: node, time });
    return true;
  }

  end(): void {
    this.write();
    if (this.rows !== undefined && this.rows.length > 0) print(layOut(this.rows));
  }

  private response(response: FlowResponse): void {
    this.line(JSON.stringify(response));
  }

  private row(cells: string[]): void {
    if (this.rows !== undefined) {
      this.rows.push(cells);
      return;
    }
    const { widths } = this;
    cells.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
    const columns = cells.map((cell, i) => cell.padEnd(widths[i] ?? 0));
    this.line(columns.join('   ').trimEnd());
  }

  /** Written with the others of this turn: a write costs as much as making a line. */
  private line(text: string): void {
    if (this.lines.length === 0) queueMicrotask(() => this.write());
    this.lines.push(text);
    if (this.lines.length >= MAX_LINES) this.write();
  }

  private write(): void {
    if (this.lines.length > 0) print(this.lines.join('\n'));
    this.lines = [];
  }
}
