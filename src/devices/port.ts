/**
 * A port: a worker's view of one device. Frames are read one at a time into the worker's arena, and each is processed
 * completely before the next is read.
 */
import type { Packet } from '../../native-free-dataplane/packet.ts';

/** Results of Port.read. */
export const Read = {
  /** A frame is in the arena and the packet describes it. */
  FRAME: 1,
  /** No more frames for now. */
  EMPTY: 0,
  /** The device was removed. */
  GONE: -1,
  /** A frame was read whose offload header is invalid. */
  INVALID: 2,
} as const;

/** Results of Port.write. */
export const Write = {
  SENT: 0,
  /** No room: the packet is lost, as on a full link. */
  FULL: 1,
  /** The kernel rejects this frame. */
  REFUSED: 2,
  /** The device is down or removed. */
  DOWN: 3,
} as const;

/** A device of one worker. */
export interface Port {
  readonly index: number;
  /** File descriptor to wait on. */
  readonly fd: number;
  /** Frames read in the last turn; maintained by the forwarder. */
  lastBatch: number;
  /** Read one frame; returns one of Read. */
  read(pkt: Packet): number;
  /**
   * Send the packet's bytes with its offload fields; returns one of Write. Only the bytes in front of the frame may be
   * changed.
   */
  write(pkt: Packet): number;
}
