/** The flows that a server keeps: the last ones in memory, and if wanted a log on disk that outlives it, within a size. */
import { appendFileSync, createReadStream, mkdirSync, readdirSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Flow, FlowResponse } from '../flow.ts';

/** Flows in memory: Hubble's default capacity. */
export const MAX_FLOWS = 4095;
/** The log is cut into so many files, of which the oldest is deleted. */
const FILES = 8;
/** Flows are written together, at the latest after this many. */
const WRITE_EVERY = 256;

export interface LogOptions {
  readonly directory: string;
  /** Size of all files together. */
  readonly bytes: number;
  /** Called once when files cannot be written, such as on a full disk. Flows are left out of the log until they can. */
  readonly onFailure?: (text: string) => void;
}

export class FlowStore {
  private readonly flows: Flow[] = [];
  private readonly listeners = new Set<(flow: Flow) => void>();
  private readonly log: FlowLog | undefined;
  /** Flows since the start. */
  seen = 0;

  constructor(log?: LogOptions) {
    this.log = log && new FlowLog(log);
  }

  add(flow: Flow): void {
    this.seen++;
    this.flows.push(flow);
    if (this.flows.length > MAX_FLOWS) this.flows.shift();
    this.log?.add(flow);
    for (const listener of this.listeners) listener(flow);
  }

  get size(): number {
    return this.flows.length;
  }

  /** Those in memory, oldest first. */
  get recent(): readonly Flow[] {
    return this.flows;
  }

  /** Those since a time, oldest first: also from the log, if memory does not reach back that far. */
  async *since(atMs: number): AsyncIterable<Flow> {
    const recent = [...this.flows];
    const reached = recent[0] !== undefined && Date.parse(recent[0].time) <= atMs;
    if (this.log !== undefined && !reached) {
      const known = new Set(recent.map(({ uuid }) => uuid));
      for await (const flow of this.log.read()) {
        if (Date.parse(flow.time) >= atMs && !known.has(flow.uuid)) yield flow;
      }
    }
    for (const flow of recent) if (Date.parse(flow.time) >= atMs) yield flow;
  }

  /** @returns ends the subscription */
  follow(listener: (flow: Flow) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Write what the log holds back. */
  flush(): void {
    this.log?.flush();
  }
}

const nameOf = (number: number): string => `flows-${String(number).padStart(8, '0')}.json`;

/** The files of a log, oldest first. @throws Error of readdir(2) */
export const logFiles = (directory: string): string[] =>
  numbersIn(directory).map((number) => join(directory, nameOf(number)));

function numbersIn(directory: string): number[] {
  return readdirSync(directory)
    .flatMap((name) => /^flows-(\d{8})\.json$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

/** Files of lines as `observe -o jsonpb` writes them. */
class FlowLog {
  private readonly options: LogOptions;
  private number: number;
  private bytes = 0;
  private held: string[] = [];
  private failing = false;

  /** Continues the log of an earlier server. @throws Error of mkdir(2) */
  constructor(options: LogOptions) {
    this.options = options;
    mkdirSync(options.directory, { recursive: true, mode: 0o700 });
    this.number = (numbersIn(options.directory).at(-1) ?? 0) + 1;
    this.deleteOld(options.bytes / FILES);
  }

  add(flow: Flow): void {
    this.held.push(`${JSON.stringify({ flow, node_name: flow.node_name, time: flow.time } satisfies FlowResponse)}\n`);
    if (this.held.length >= WRITE_EVERY) this.flush();
  }

  flush(): void {
    if (this.held.length === 0) return;
    const { directory, bytes } = this.options;
    const text = this.held.join('');
    const size = Buffer.byteLength(text);
    this.held = [];
    if (this.bytes > 0 && this.bytes + size > bytes / FILES) {
      this.number++;
      this.bytes = 0;
    }
    try {
      // Before the write, so that all files together never have more than the given size.
      if (this.bytes === 0) this.deleteOld(Math.max(size, bytes / FILES));
      appendFileSync(join(directory, nameOf(this.number)), text, { mode: 0o600 });
      this.bytes += size;
      this.failing = false;
    } catch (error) {
      if (!this.failing) this.options.onFailure?.(`flows are missing in the log: ${(error as Error).message}`);
      this.failing = true;
    }
  }

  async *read(): AsyncIterable<Flow> {
    this.flush();
    for (const file of logFiles(this.options.directory)) {
      const input = createReadStream(file);
      // A file that was deleted meanwhile, and a line that was cut when a server was killed, are skipped.
      input.on('error', () => input.destroy());
      try {
        for await (const line of createInterface({ input })) {
          const flow = parse(line);
          if (flow !== undefined) yield flow;
        }
      } catch {}
    }
  }

  /** @param room for the file that is written next */
  private deleteOld(room: number): void {
    let total = room;
    for (const path of logFiles(this.options.directory).reverse()) {
      total += statSync(path).size;
      if (total > this.options.bytes) unlinkSync(path);
    }
  }
}

function parse(line: string): Flow | undefined {
  try {
    return (JSON.parse(line) as FlowResponse).flow;
  } catch {
    return undefined;
  }
}
