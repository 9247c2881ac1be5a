/** What a worker runs for each frame: the pipeline itself, or something around it. */
import type { Dataplane } from '../../native-free-dataplane/dataplane.ts';
import type { Packet } from '../../native-free-dataplane/packet.ts';
import type { Verdict } from '../../native-free-dataplane/verdicts.ts';

/** Processes frames: the real pipeline, or a substitute that measures the cost of the loop alone. */
export interface Pipeline {
  processFrame(pkt: Packet, dp: Dataplane, nowMs: number): Verdict;
  /** @returns milliseconds until the next call is due */
  tick(dp: Dataplane, nowMs: number): number;
}
