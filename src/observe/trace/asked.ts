/** Input and output of the functions that describe a stage. */
import type { Dataplane } from '../../../native-free-dataplane/dataplane.ts';
import type { Packet } from '../../../native-free-dataplane/packet.ts';
import type { Names, StepNames } from './names.ts';
import type { Row, Step } from './step.ts';

/** A call of the traced build. */
export interface Call {
  readonly file: string;
  readonly name: string;
  readonly judges: boolean;
  readonly args: readonly unknown[];
  readonly calls: Call[];
  line: number;
  result: unknown;
}

export interface Described {
  readonly stage: string;
  readonly table?: string;
  readonly row?: Row;
  /** Set if the frame has been replaced by a reply to it. */
  readonly replaced?: true;
}

export interface Asked {
  readonly call: Call;
  readonly pkt: Packet;
  readonly dp: Dataplane;
  readonly names: StepNames;
  /** Names of the functions that have returned for this frame. */
  readonly done: ReadonlySet<string>;
}

/** The packet at its end, and the tables of the node. */
export interface Ended {
  readonly verdict: string;
  readonly steps: readonly Step[];
  readonly dp: Dataplane;
  readonly pkt: Packet;
  readonly names: Names;
  /** Nodes that have an endpoint of their own for a Service's address and port. */
  readonly nodesWithEndpoint: (address: Int32Array, protocol: number, port: number) => readonly string[];
}

/** The first call of this function within the call; undefined if there is none. */
export function callNamed(call: Call, name: string): Call | undefined {
  for (const inner of call.calls) {
    const found = inner.name === name ? inner : callNamed(inner, name);
    if (found !== undefined) return found;
  }
  return undefined;
}
