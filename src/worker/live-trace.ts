/**
 * Traces single frames in a worker, over its own tables, at the moment they are processed: `dataplane trace --live`, and
 * captures with steps. The frame goes through the traced build of the pipeline, which does the same as the other and
 * reports its calls. Only frames that a reader asks for come here.
 */
import type { Dataplane } from '../../native-free-dataplane/dataplane.ts';
import type { Packet } from '../../native-free-dataplane/packet.ts';
import type { Tracer } from '../../native-free-dataplane/trace/probe.ts';
import { processTraced } from '../../native-free-dataplane/trace/traced.ts';
import type { Verdict } from '../../native-free-dataplane/verdicts.ts';
import { MARKED_NAMES } from '../observe/trace/marked-names.ts';
import { Recorder } from '../observe/trace/recorder.ts';
import type { Step } from '../observe/trace/step.ts';

/** Frames that a worker traces in a second: a trace takes a hundred times as long as the packet. */
const TRACES_PER_SECOND = 200;

/** Processes a frame as the pipeline does, and reports the calls. */
export type TracedPipeline = typeof processTraced;

export class LiveTrace {
  private readonly process: TracedPipeline;
  private secondMs = Number.NEGATIVE_INFINITY;
  private left = 0;
  /** The steps of the last frame, as JSON in UTF-8. */
  steps: Uint8Array = new Uint8Array(0);

  constructor(process: TracedPipeline = processTraced) {
    this.process = process;
  }

  /** May another frame be traced? If so, this takes one of those that are left in this second. */
  take(nowMs: number): boolean {
    if (nowMs - this.secondMs >= 1000) {
      this.secondMs = nowMs;
      this.left = TRACES_PER_SECOND;
    }
    if (this.left === 0) return false;
    this.left--;
    return true;
  }

  /** Process the frame. Its steps are in `steps` then. */
  trace(pkt: Packet, dp: Dataplane, nowMs: number): Verdict {
    const recorder = new Recorder(pkt, dp, MARKED_NAMES);
    const verdict = this.process(pkt, dp, nowMs, new Guarded(recorder));
    this.steps = Buffer.from(JSON.stringify(recorder.steps satisfies readonly Step[]));
    return verdict;
  }
}

/** Keeps a failure to describe a step away from the packet: the steps end where it happened. */
class Guarded implements Tracer {
  private readonly tracer: Tracer;
  private failed = false;

  constructor(tracer: Tracer) {
    this.tracer = tracer;
  }

  enter(file: string, name: string, judges: boolean, args: ArrayLike<unknown>): void {
    this.attempt(() => this.tracer.enter(file, name, judges, args));
  }

  leave(line: number, result: unknown): void {
    this.attempt(() => this.tracer.leave(line, result));
  }

  private attempt(work: () => void): void {
    if (this.failed) return;
    try {
      work();
    } catch {
      this.failed = true;
    }
  }
}
