/**
 * A port: one device as a worker sees it. Frames are read one at a time into the worker's arena, handled to the end,
 * and the next one is read.
 */
import type { Packet } from '../../native-free-dataplane/packet.ts';

/** Results of Port.read besides a frame. */
export const Read = {
  /** A frame is in the arena and the packet stands for it. */
  FRAME: 1,
  /** Nothing more for now. */
  EMPTY: 0,
  /** The device is gone. */
  GONE: -1,
  /** A frame was read that its offload header does not fit. */
  INVALID: 2,
} as const;

/** Results of Port.write. */
export const Write = {
  SENT: 0,
  /** No room: the packet is lost, as on a wire. */
  FULL: 1,
  /** The kernel does not take this frame. */
  REFUSED: 2,
  /** The device is down or gone. */
  DOWN: 3,
} as const;

export interface Port {
  readonly index: number;
  /** File descriptor to wait on. */
  readonly fd: number;
  /** Frames the last turn took; kept by whoever drains the port. */
  lastBatch: number;
  /** Read one frame; one of Read. */
  read(pkt: Packet): number;
  /** Send the packet's bytes with its offload fields; one of Write. The packet's bytes are not changed but for the header in front. */
  write(pkt: Packet): number;
}
