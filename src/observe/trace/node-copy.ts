/**
 * A node's tables copied into memory of this process, with a pipeline over them. Whatever the pipeline changes it changes
 * here; the node's own tables are only ever read.
 */
import { recoverConntrack } from '../../../native-free-dataplane/conntrack/lifetime.ts';
import {
  ARENA_BYTES,
  attachDataplane,
  type Dataplane,
  type Features,
  FRAME_AT,
  type TableBuffers,
} from '../../../native-free-dataplane/dataplane.ts';
import { releaseFragmentLock } from '../../../native-free-dataplane/fragments/table.ts';
import { Packet } from '../../../native-free-dataplane/packet.ts';
import { MAX_WORKERS } from '../../../native-free-dataplane/shared/layout.ts';
import type { processTraced } from '../../../native-free-dataplane/trace/traced.ts';
import { verdictName } from '../../../native-free-dataplane/verdicts.ts';
import type { Names } from './names.ts';
import { Recorder } from './recorder.ts';
import type { Step } from './step.ts';
import { type Ended, wouldDiffer } from './would-differ.ts';

/** A frame that the pipeline sent, and the port it left by. */
export interface Sent {
  readonly port: number;
  readonly bytes: Uint8Array;
}

export interface NodeTables {
  readonly name: string;
  readonly tables: TableBuffers;
  readonly features: Features;
}

/** One frame's way through the node. */
export interface Passage {
  readonly steps: readonly Step[];
  readonly verdict: string;
  readonly sent: readonly Sent[];
  readonly wouldDiffer: readonly string[];
}

/** What a node does not know itself. */
export interface Surroundings {
  readonly process: typeof processTraced;
  readonly nowMs: number;
  readonly names: Names;
  readonly nodesWithEndpoint: Ended['nodesWithEndpoint'];
}

export class NodeCopy {
  readonly name: string;
  readonly dp: Dataplane;
  readonly pkt: Packet = new Packet(new ArrayBuffer(ARENA_BYTES));
  private sent: Sent[] = [];

  /**
   * @param node tables of which nobody else writes: a copy was taken. It may have been taken while workers were at work, so
   *   what is derived from the records is derived anew and locks are released, as an agent does that starts over the
   *   tables of another
   * @param seed of the random choices
   * @throws Error when the memory does not hold tables of this version
   */
  constructor({ name, tables, features }: NodeTables, nowMs: number, seed: number) {
    this.name = name;
    const emit = (pkt: Packet): void => {
      this.sent.push({ port: pkt.outPort, bytes: pkt.bytes.slice(pkt.start, pkt.end) });
    };
    this.dp = attachDataplane(tables, 0, { emit }, features, seed);
    recoverConntrack(this.dp.conntrack, nowMs, this.dp.conntrack.workers);
    for (let worker = 0; worker < MAX_WORKERS; worker++) releaseFragmentLock(this.dp.fragments, worker);
  }

  /** Push a frame through the copy. @param port where it comes in; 0 is dp0 */
  receive(frame: Uint8Array, port: number, { process, nowMs, names, nodesWithEndpoint }: Surroundings): Passage {
    const { pkt, dp } = this;
    this.sent = [];
    pkt.bytes.set(frame, FRAME_AT);
    pkt.reset(FRAME_AT, FRAME_AT + frame.length, port);
    const recorder = new Recorder(pkt, dp, names);
    const { steps } = recorder;
    let differs: readonly string[] | undefined;
    recorder.onVerdict = (verdict) => {
      // Fragments that were held come after the frame that released them.
      differs ??= wouldDiffer({ verdict, steps, dp, pkt, names, nodesWithEndpoint });
    };
    const verdict = verdictName(process(pkt, dp, nowMs, recorder));
    return { steps, verdict, sent: this.sent, wouldDiffer: differs ?? [] };
  }
}
