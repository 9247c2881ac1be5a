/** A frame captured on a node. */
import type { Step } from '../trace/step.ts';

export interface CapturedPacket {
  readonly node: string;
  readonly worker: number;
  readonly port: number;
  readonly point: 'received' | 'sent';
  /** Verdict of the packet, or why the device did not accept this frame. */
  readonly verdict: number;
  /** The policy's rule that denied the packet, such as `shop/web (no rule allows it)`. */
  readonly deniedBy?: string;
  /** Number of the packet on its worker: the same wherever the packet was captured on the node. */
  readonly number: number;
  /** Time since 1970. */
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly bytes: Uint8Array;
  readonly originalBytes: number;
  /** The transport checksum is left to the receiving device. */
  readonly checksumPending: boolean;
  /** Bytes of payload per segment of a super-packet; 0: an ordinary packet. */
  readonly segmentBytes: number;
  /** Frames lost at this port since the frame before. */
  readonly lostBefore: number;
  /** The packet's steps through the pipeline, if they were asked for, with marks in place of names (marked-names.ts). */
  steps?: readonly Step[];
  /** Present in a recording that is to be replayed, for received frames. */
  readonly replay?: ReplayInput;
}

/** What the pipeline was given beside a frame. */
export interface ReplayInput {
  /** Low 32 bits of its monotonic milliseconds. */
  readonly nowMs: number;
  /** When the worker did its periodic work since the frame before (the same unit). */
  readonly ticks: readonly number[];
  /** The worker's state when the recording began; with its first frame. */
  readonly state?: WorkerState;
  /** Undefined: the frame has no pending checksum. */
  readonly offload: Offload | undefined;
}

/** Offsets from the frame's first byte (native-free-dataplane/packet.ts). */
export interface Offload {
  readonly checksumStart: number;
  readonly checksumOffset: number;
  readonly gsoType: number;
  readonly gsoSize: number;
  readonly gsoEcn: number;
  readonly headersEnd: number;
  readonly outerL4: number;
  readonly innerL3: number;
}

/** What a worker has for itself, beside the tables. */
export interface WorkerState {
  readonly random: number;
  readonly nextIpId: number;
  /** Token buckets of replies that have been used: hop, tokens, when it was filled last. */
  readonly tokens: readonly (readonly [hop: number, tokens: number, filledMs: number])[];
}

/** Is `a` older than `b`? For sorting. */
export function byTime(a: CapturedPacket, b: CapturedPacket): number {
  return a.seconds - b.seconds || a.nanoseconds - b.nanoseconds;
}
