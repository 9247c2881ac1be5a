/**
 * Which blocks of the code under test have run, as V8 counts them. Collecting must begin before the code is loaded: V8
 * gives block counters only to functions that it compiles afterwards.
 */
import { Session } from 'node:inspector';

interface FunctionCoverage {
  readonly functionName: string;
  readonly ranges: readonly { readonly startOffset: number; readonly endOffset: number; readonly count: number }[];
}

interface ScriptCoverage {
  readonly url: string;
  readonly functions: readonly FunctionCoverage[];
}

export class Coverage {
  private readonly session = new Session();
  private readonly seen = new Set<string>();
  private readonly isTested: (url: string) => boolean;

  /** @param isTested selects scripts by their URL */
  constructor(isTested: (url: string) => boolean) {
    this.isTested = isTested;
    this.session.connect();
    this.session.post('Profiler.enable');
    this.session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** Blocks that ran since the last call and never before. */
  takeNew(): string[] {
    const fresh: string[] = [];
    this.session.post('Profiler.takePreciseCoverage', (error, taken) => {
      if (error) throw error;
      for (const { url, functions } of (taken as { result: ScriptCoverage[] }).result) {
        if (!this.isTested(url)) continue;
        for (const { ranges } of functions) {
          for (const { startOffset, endOffset, count } of ranges) {
            const block = `${url}:${startOffset}-${endOffset}`;
            if (count === 0 || this.seen.has(block)) continue;
            fresh.push(block);
          }
        }
      }
    });
    return fresh;
  }

  /** Count these blocks as known. */
  add(blocks: readonly string[]): void {
    for (const block of blocks) this.seen.add(block);
  }

  get count(): number {
    return this.seen.size;
  }

  close(): void {
    this.session.post('Profiler.stopPreciseCoverage');
    this.session.disconnect();
  }
}
