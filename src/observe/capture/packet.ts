/** A frame captured on a node. */
import type { Step } from '../trace/step.ts';

export interface CapturedPacket {
  readonly node: string;
  readonly worker: number;
  readonly port: number;
  readonly point: 'received' | 'sent';
  /** Verdict of the packet, or why the device did not accept this frame. */
  readonly verdict: number;
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
}

/** Is `a` older than `b`? For sorting. */
export function byTime(a: CapturedPacket, b: CapturedPacket): number {
  return a.seconds - b.seconds || a.nanoseconds - b.nanoseconds;
}
