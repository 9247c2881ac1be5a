/**
 * A copy of a node's tables in the memory of this process, and a pipeline over it. The pipeline changes only the copy;
 * the node's own tables are only read.
 */
import { recoverConntrack } from '../../../native-free-dataplane/conntrack/recovery.ts';
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
import { viewService } from '../../../native-free-dataplane/services/inspect.ts';
import { MAX_WORKERS } from '../../../native-free-dataplane/shared/layout.ts';
import type { processTraced } from '../../../native-free-dataplane/trace/traced.ts';
import { verdictName } from '../../../native-free-dataplane/verdicts.ts';
import type { Ended } from './asked.ts';
import type { Names } from './names.ts';
import { Recorder } from './recorder.ts';
import type { Step } from './step.ts';
import { wouldDiffer } from './would-differ.ts';

/** A frame that the pipeline sent, and its output port. */
export interface Sent {
  readonly port: number;
  readonly bytes: Uint8Array;
}

export interface NodeTables {
  readonly name: string;
  readonly tables: TableBuffers;
  readonly features: Features;
}

/** The result for one frame on this node. */
export interface Passage {
  readonly steps: readonly Step[];
  readonly verdict: string;
  readonly sent: readonly Sent[];
  readonly wouldDiffer: readonly string[];
}

/** Context from outside the node. */
export interface Surroundings {
  readonly process: typeof processTraced;
  readonly nowMs: number;
  readonly names: Names;
  readonly nodesWithEndpoint: Ended['nodesWithEndpoint'];
  /** Whether steps keep the frame before and after them. */
  readonly withFrames?: boolean;
}

export class NodeCopy {
  readonly name: string;
  readonly dp: Dataplane;
  readonly pkt: Packet = new Packet(new ArrayBuffer(ARENA_BYTES));
  private sent: Sent[] = [];

  /**
   * @param node copies of the tables. Workers may have been writing while they were copied, so the index is rebuilt
   * from the   records and locks are released, as by an agent that takes over the tables of another
   * @param seed seed of random choices
   * @throws Error if the memory does not contain tables of this version
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

  /** Runs a frame through the pipeline. @param port input port; 0 is dp0 */
  receive(frame: Uint8Array, port: number, surroundings: Surroundings): Passage {
    const { pkt, dp } = this;
    this.sent = [];
    pkt.bytes.set(frame, FRAME_AT);
    pkt.reset(FRAME_AT, FRAME_AT + frame.length, port);
    return { ...traceFrame(pkt, dp, surroundings), sent: this.sent };
  }
}

/** Processes the frame that a descriptor holds, and records how. */
export function traceFrame(
  pkt: Packet,
  dp: Dataplane,
  { process, nowMs, names, nodesWithEndpoint, withFrames }: Surroundings,
): Omit<Passage, 'sent'> {
  const recorder = new Recorder(pkt, dp, names, withFrames);
  const { steps } = recorder;
  let differs: readonly string[] | undefined;
  recorder.onVerdict = (verdict) => {
    // Held fragments are sent after the frame that releases them.
    differs ??= wouldDiffer({ verdict, steps, dp, pkt, names, nodesWithEndpoint });
  };
  const verdict = verdictName(process(pkt, dp, nowMs, recorder));
  return { steps, verdict, wouldDiffer: differs ?? [] };
}

/** Names of the nodes that have an endpoint of a service port of their own. */
export function endpointFinder(
  nodes: readonly { readonly name: string; readonly dp: Dataplane }[],
): Surroundings['nodesWithEndpoint'] {
  return (address, protocol, port) =>
    nodes
      .filter(({ dp }) => {
        const view = viewService(dp.services, protocol, port, address) ?? viewService(dp.services, protocol, port);
        return view !== undefined && view.local.length > 0;
      })
      .map(({ name }) => name);
}
