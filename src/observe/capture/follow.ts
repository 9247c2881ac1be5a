/** Reads the captures of several nodes and merges them by time. */
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from '../../linux/clock.ts';
import type { NodeCapture } from './node-capture.ts';
import { byTime, type CapturedPacket } from './packet.ts';

/**
 * How often rings are read, in milliseconds. Whole super-packets fill one in a few; of short frames it holds the work of a
 * worker for a tenth of a second, and each look costs the workers of a busy machine two changes of context.
 */
const LOOK_MS = 5;
const LOOK_SHORT_MS = 20;
/** Frames up to this length are short. */
const SHORT_BYTES = 1024;
/** How often leases are renewed, in milliseconds. */
const RENEW_MS = 500;
/**
 * Delay before a frame is delivered, in milliseconds: older frames of other workers may be read later. Longer than a
 * worker takes for a packet.
 */
const HOLD_MS = 20;
/** Frames that are held at most; beyond it they are delivered at once. */
const MAX_HELD = 65_536;
/** How long after the end frames are still read, which workers were writing. */
const DRAIN_MS = 10;

export interface FollowOptions {
  /** Aborted by the caller to end the capture. */
  readonly ended: AbortSignal;
  /** Frames in the order of their times. */
  onPackets(packets: readonly CapturedPacket[]): void;
  /** The capture on a node has ended, and why. */
  onGone(reason: string): void;
  /** Called about every RENEW_MS. */
  onRenewed?(): Promise<void>;
}

/** Deliver frames until `ended` or until no node is left. Afterwards the sessions have ended. */
export async function followCaptures(captures: readonly NodeCapture[], options: FollowOptions): Promise<void> {
  const { ended, onPackets, onGone, onRenewed } = options;
  let live = [...captures];
  const held: CapturedPacket[] = [];
  const lookMs = captures.every(({ snapBytes }) => snapBytes <= SHORT_BYTES) ? LOOK_SHORT_MS : LOOK_MS;
  let renewedMs = Number.NEGATIVE_INFINITY;
  const deliver = (untilMs: number): void => {
    held.sort(byTime);
    const later = held.length > MAX_HELD ? -1 : held.findIndex((each) => timeMs(each) > untilMs);
    const ripe = held.splice(0, later < 0 ? held.length : later);
    if (ripe.length > 0) onPackets(ripe);
  };
  while (!ended.aborted && live.length > 0) {
    const nowMs = monotonicMs();
    if (nowMs - renewedMs >= RENEW_MS) {
      renewedMs = nowMs;
      live = live.filter((capture) => {
        const reason = capture.renew(nowMs);
        if (reason !== undefined) onGone(reason);
        return reason === undefined;
      });
      await onRenewed?.();
    }
    const more = live.map((capture) => capture.read(held)).includes(true);
    deliver(Date.now() - HOLD_MS);
    await sleep(more ? 0 : lookMs, undefined, { signal: ended }).catch(() => {});
  }
  for (const capture of live) capture.end();
  await sleep(DRAIN_MS);
  for (const capture of live) while (capture.read(held));
  deliver(Number.POSITIVE_INFINITY);
}

const timeMs = ({ seconds, nanoseconds }: CapturedPacket): number => seconds * 1000 + nanoseconds / 1e6;
