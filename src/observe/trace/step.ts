/** The data of a trace: one entry per node that the packet or its reply passed, each with a list of steps. */
import type { FrameFields } from '../../../native-free-dataplane/print/fields.ts';

/** The decoded table row that a step read; `text` describes it in sentences. */
export interface Row {
  readonly text: readonly string[];
  readonly [field: string]: string | number | boolean | readonly string[];
}

export interface Step {
  readonly stage: string;
  /** File and line of the deciding `return`. */
  readonly source: string;
  readonly table?: string;
  readonly row?: Row;
  /** Fields of the frame that the step changed, with their values before and after. */
  readonly before?: FrameFields;
  readonly after?: FrameFields;
  /** The frame before and after the step, in hexadecimal; only if frames are kept, and the step changed it. */
  readonly frames?: { readonly before: string; readonly after: string };
  /** Absent if the packet continues. */
  readonly verdict?: string;
}

export interface NodeTrace {
  readonly node: string;
  /** Whether it is the traced packet or the reply to it. */
  readonly direction: 'original' | 'reply';
  /** The frame as the node received it, in one line. */
  readonly packet: string;
  /** The same in hexadecimal, if frames are kept. */
  readonly frame?: string;
  readonly steps: readonly Step[];
  readonly verdict: string;
  /** What would have to be different for another outcome, in sentences. */
  readonly wouldDiffer: readonly string[];
}
