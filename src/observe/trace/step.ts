/** What a trace consists of: one entry per node that the packet or its answer passed, each a list of steps. */
import type { FrameFields } from '../../../native-free-dataplane/print/fields.ts';

/** What a step read from a table, decoded; `text` has it in one sentence or several. */
export interface Row {
  readonly text: readonly string[];
  readonly [field: string]: string | number | boolean | readonly string[];
}

export interface Step {
  readonly stage: string;
  /** File and line of the `return` that decided. */
  readonly source: string;
  readonly table?: string;
  readonly row?: Row;
  /** Fields of the frame that the step changed, with their values before and after. */
  readonly before?: FrameFields;
  readonly after?: FrameFields;
  /** Absent while the packet goes on. */
  readonly verdict?: string;
}

export interface NodeTrace {
  readonly node: string;
  /** Of the packet that was given, or of what answers it. */
  readonly direction: 'original' | 'reply';
  /** The frame as the node received it, in one line. */
  readonly packet: string;
  readonly steps: readonly Step[];
  readonly verdict: string;
  /** Sentences: what would have to be different for another outcome. */
  readonly wouldDiffer: readonly string[];
}
