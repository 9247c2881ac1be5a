/**
 * The readers of live updates: server-sent events, at most four a second, the same for all of them except for the flows,
 * which each reader filters. A reader that does not read is left out until it does, and then gets everything anew; after
 * a time it is closed.
 */
import type { ServerResponse } from 'node:http';
import type { Flow } from '../../observe/hubble/flow.ts';
import type { LiveModel } from '../live-model.ts';
import type { FlowRow, Update } from '../protocol.ts';
import { answer } from './answer.ts';

/** Time between two updates, in milliseconds. */
export const UPDATE_MS = 250;
export const MAX_READERS = 8;
/** Flows of one update; of a burst, the last. */
const MAX_FLOWS_AT_ONCE = 200;
/** Flows that a new reader gets. */
const FIRST_FLOWS = 300;
/** Bytes that may wait in a reader's connection. */
const MAX_WAITING = 1 << 20;
/** Updates that a reader may miss in a row: 20 seconds. */
const MAX_MISSED = 80;

/** Parses a filter as on the command line of `dataplane observe`. @throws Error with a text for people */
export type ParseFilter = (text: string) => (flow: Flow) => boolean;

interface Reader {
  readonly response: ServerResponse;
  readonly passes: (flow: Flow) => boolean;
  /** Number of the last flow that was considered. */
  flow: number;
  missed: number;
  /** Gets everything next. */
  fresh: boolean;
  /** Has got nothing yet. */
  isNew: boolean;
}

export class Streams {
  private readonly model: LiveModel;
  private readonly parseFilter: ParseFilter;
  private readonly readers = new Set<Reader>();
  private readonly timer: NodeJS.Timeout;

  constructor(model: LiveModel, parseFilter: ParseFilter) {
    this.model = model;
    this.parseFilter = parseFilter;
    this.timer = setInterval(() => this.update(), UPDATE_MS);
    this.timer.unref();
  }

  get size(): number {
    return this.readers.size;
  }

  open(filter: string, response: ServerResponse): void {
    if (this.readers.size >= MAX_READERS) {
      answer(response, 503, `at most ${MAX_READERS} pages at once`);
      return;
    }
    let passes: Reader['passes'];
    try {
      passes = this.parseFilter(filter);
    } catch (error) {
      answer(response, 400, (error as Error).message);
      return;
    }
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    const reader: Reader = { response, passes, flow: 0, missed: 0, fresh: true, isNew: true };
    this.readers.add(reader);
    response.on('close', () => this.readers.delete(reader));
    this.send(reader, this.model.whole());
  }

  close(): void {
    clearInterval(this.timer);
    for (const { response } of this.readers) response.end();
    this.readers.clear();
  }

  /** One update to every reader. Called by a timer. */
  update(): void {
    const change = this.model.change();
    for (const reader of [...this.readers]) {
      if (reader.response.writableLength > MAX_WAITING) {
        reader.fresh = true;
        if (++reader.missed > MAX_MISSED) reader.response.destroy();
        continue;
      }
      reader.missed = 0;
      this.send(reader, reader.fresh ? this.model.whole() : change);
    }
  }

  private send(reader: Reader, common: Update): void {
    const { rows, skipped } = this.flowsFor(reader);
    reader.fresh = false;
    const update: Update = { ...common, ...(rows.length > 0 && { flows: rows }), ...(skipped > 0 && { skipped }) };
    if (Object.keys(update).length > 0) reader.response.write(`data: ${JSON.stringify(update)}\n\n`);
  }

  private flowsFor(reader: Reader): { rows: FlowRow[]; skipped: number } {
    const { isNew } = reader;
    reader.isNew = false;
    const found = this.model.flowsAfter(reader.flow, reader.passes);
    reader.flow = this.model.lastFlow;
    const rows = found.slice(isNew ? -FIRST_FLOWS : -MAX_FLOWS_AT_ONCE).map((kept) => this.model.rowOf(kept));
    return { rows, skipped: isNew ? 0 : found.length - rows.length };
  }
}
