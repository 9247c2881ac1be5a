/** Follows events that nodes record in shared memory, and merges those of all sources by time. */
import { monotonicMs } from '../../linux/clock.ts';

/** An event with its monotonic time in milliseconds, as fine as its source has it; never earlier than that of its source's event before it. */
export interface TimedEvent {
  readonly atMs: number;
}

/** Called with the number of a node's events that were overwritten before they were read. */
export type OnMissed = (node: string, count: number) => void;

/** The events of a node in one ring, or in several. */
export interface EventSource<E extends TimedEvent> {
  /** Called often. @returns false if the node is gone; then the source is closed */
  renew(nowMs: number): boolean;
  read(nowMs: number, onEvent: (event: E) => void, onMissed: OnMissed): void;
  /** The events before the read position that are not overwritten yet. */
  past(nowMs: number): E[];
  close(): void;
}

export interface FollowOptions<E extends TimedEvent> {
  /** Aborted by the caller to end the following. */
  readonly ended: AbortSignal;
  /** Called first, with the events that the sources still hold, oldest first. */
  onPast?(events: readonly E[]): void;
  onEvent(event: E): void;
  readonly onMissed: OnMissed;
}

/** How often the sources are read, in milliseconds. A node's ring holds 4096 events, the work of a tenth of a second at most. */
const LOOK_MS = 10;
/**
 * Delay before an event is delivered, in milliseconds: older events of other nodes may be read later. Longer than a
 * worker's batch.
 */
const HOLD_MS = 20;

/** Delivers the events of these sources, oldest first, until `ended` or until no source is left. Closes the sources. */
export async function followEvents<E extends TimedEvent>(
  sources: readonly EventSource<E>[],
  { ended, onPast, onEvent, onMissed }: FollowOptions<E>,
): Promise<void> {
  let live = sources;
  const held: E[] = [];
  // Not the sleep of node:timers/promises: a listener at the signal for each turn costs as much as the turn.
  let wake = (): void => {};
  const onEnded = (): void => wake();
  ended.addEventListener('abort', onEnded);
  const turn = (): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, LOOK_MS);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  const release = (untilMs: number) => {
    held.sort((a, b) => a.atMs - b.atMs); // stable: events of one source and time keep their order
    const ripe = held.findIndex(({ atMs }) => atMs > untilMs);
    for (const event of held.splice(0, ripe < 0 ? held.length : ripe)) onEvent(event);
  };
  try {
    onPast?.(pastEvents(live));
    while (!ended.aborted && live.length > 0) {
      const nowMs = monotonicMs();
      live = live.filter((source) => source.renew(nowMs));
      for (const source of live) source.read(nowMs, (event) => held.push(event), onMissed);
      release(nowMs - HOLD_MS);
      if (!ended.aborted) await turn();
    }
    release(Number.POSITIVE_INFINITY);
  } finally {
    ended.removeEventListener('abort', onEnded);
    for (const source of live) source.close();
  }
}

/** The events that the sources hold now, oldest first. */
export function pastEvents<E extends TimedEvent>(sources: readonly EventSource<E>[]): E[] {
  return sources.flatMap((source) => source.past(monotonicMs())).sort((a, b) => a.atMs - b.atMs);
}

/** The whole monotonic time of an event, from its low 32 bits. */
export function wholeTime(lowMs: number, nowMs: number): number {
  const wholeMs = Math.floor(nowMs);
  return wholeMs - ((wholeMs - lowMs) | 0);
}
