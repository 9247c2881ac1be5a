/** Input and output of the functions that describe a stage. */
import type { Dataplane } from '../../../native-free-dataplane/dataplane.ts';
import type { Packet } from '../../../native-free-dataplane/packet.ts';
import type { Names } from './names.ts';
import type { Row } from './step.ts';

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
  readonly names: Names;
  /** Names of the functions that have returned for this frame. */
  readonly done: ReadonlySet<string>;
}
