/**
 * Expiry of Events: each is removed an hour after its last occurrence, as in Kubernetes, and the oldest earlier if
 * there are too many, regardless of their source.
 */
import type { EventObject } from '../api/types/objects.ts';
import type { Cluster } from './cluster.ts';
import { keyOf, splitKey } from './work-queue.ts';

const MAX_EVENTS = 2000;
const LIFETIME_MS = 60 * 60 * 1000;
const SWEEP_MS = 60 * 1000;

export interface EventLimits {
  most: number;
  lifetimeMs: number;
  sweepMs: number;
  /** A monotonic clock in milliseconds. */
  now: () => number;
}

const DEFAULTS: EventLimits = {
  most: MAX_EVENTS,
  lifetimeMs: LIFETIME_MS,
  sweepMs: SWEEP_MS,
  now: () => performance.now(),
};

/** Returns a function that stops it. */
export function startEventExpiry(cluster: Cluster, limits: EventLimits = DEFAULTS): () => void {
  const { store } = cluster;
  /** All events → the time of their last write; a new write moves the event to the end. */
  const seen = new Map<string, number>();
  /** @returns false if it cannot be removed now, for instance because the disk is full: the next round tries again */
  const remove = (key: string): boolean => {
    const [namespace, name] = splitKey(key);
    const event: EventObject | undefined = store.get('Event', namespace, name);
    try {
      if (event !== undefined) store.remove(event);
      return true;
    } catch (error) {
      cluster.log(`event ${key} cannot be removed: ${(error as Error).message}`);
      return false;
    }
  };
  const note = (event: EventObject, at: number) => {
    const key = keyOf(event);
    seen.delete(key);
    seen.set(key, at);
  };
  const shrink = () => {
    for (const key of seen.keys()) {
      if (seen.size <= limits.most || !remove(key)) return;
    }
  };
  const events = store.list('Event').sort((a, b) => lastSeen(a) - lastSeen(b));
  const offset = limits.now() - Date.now();
  for (const event of events) note(event, lastSeen(event) + offset);
  store.onCommit('Event', ({ type, object }) => {
    if (type === 'DELETED') seen.delete(keyOf(object));
    else note(object, limits.now());
    if (type === 'ADDED') shrink();
  });
  shrink();
  const timer = setInterval(() => {
    const oldest = limits.now() - limits.lifetimeMs;
    for (const [key, at] of seen) {
      if (at > oldest || !remove(key)) return;
    }
  }, limits.sweepMs).unref();
  return () => clearInterval(timer);
}

function lastSeen({ metadata, series, lastTimestamp, eventTime }: EventObject): number {
  const time = Date.parse(series?.lastObservedTime ?? lastTimestamp ?? eventTime ?? metadata.creationTimestamp);
  return Number.isNaN(time) ? Date.parse(metadata.creationTimestamp) : time;
}
