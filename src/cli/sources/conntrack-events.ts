/**
 * Follows the events of connections: reads the rings that the nodes' workers write while there is a follower, and
 * merges them by time. What earlier followers caused to be written can be read until it is overwritten.
 */

import {
  EVENT_RECORD,
  EventKind,
  eventHead,
  eventTime,
  follow,
  NOT_YET,
  OVERTAKEN,
  readEvent,
  stampEvents,
} from '../../../native-free-dataplane/conntrack/events.ts';
import { type Conntrack, EVENT_SLOTS, EVENT_WORDS } from '../../../native-free-dataplane/conntrack/record.ts';
import type { FlowText } from '../../../native-free-dataplane/print/flow.ts';
import { flowText } from '../../../native-free-dataplane/print/record.ts';
import { monotonicMs } from '../../linux/clock.ts';
import { mapTable, nodesWithFlows } from './conntrack.ts';

export interface FlowEvent {
  readonly node: string;
  readonly kind: 'NEW' | 'UPDATE' | 'DESTROY';
  readonly flow: FlowText;
  /** Monotonic time in whole milliseconds; never earlier than that of the node's event before it. */
  readonly atMs: number;
}

export interface FollowOptions {
  /** Aborted by the caller to end the following. */
  readonly ended: AbortSignal;
  /** Called first, with the events that the rings still hold, oldest first. */
  onPast?(events: readonly FlowEvent[]): void;
  onEvent(event: FlowEvent): void;
  /** Called with the number of a node's events that were overwritten before they were read. */
  onMissed(node: string, count: number): void;
}

const KINDS = { [EventKind.NEW]: 'NEW', [EventKind.UPDATE]: 'UPDATE', [EventKind.DESTROY]: 'DESTROY' } as const;

/** How often the rings are read and the follower's mark is renewed, in milliseconds. */
const LOOK_MS = 5;
const RENEW_MS = 1000;
/**
 * Delay before an event is delivered, in milliseconds: older events of other nodes may be read later. Longer than a
 * worker's batch.
 */
const HOLD_MS = 20;

/**
 * Delivers the events of these nodes, oldest first, until `ended` or until no node is left. @throws CliError as
 * mapTable
 */
export async function followFlows(
  nodes: readonly string[],
  { ended, onPast, onEvent, onMissed }: FollowOptions,
): Promise<void> {
  let rings = nodes.map((node) => new Ring(node));
  let held: FlowEvent[] = [];
  const release = (untilMs: number) => {
    held.sort((a, b) => a.atMs - b.atMs); // stable: a node's events of the same millisecond keep their order
    const ripe = held.findIndex(({ atMs }) => atMs > untilMs);
    for (const event of held.splice(0, ripe < 0 ? held.length : ripe)) onEvent(event);
  };
  try {
    onPast?.(pastOf(rings));
    while (!ended.aborted && rings.length > 0) {
      const nowMs = monotonicMs();
      rings = rings.filter((ring) => ring.renew(nowMs));
      for (const ring of rings) ring.read(nowMs, (event) => held.push(event), onMissed);
      release(nowMs - HOLD_MS);
      await pause(LOOK_MS, ended);
    }
    release(Number.POSITIVE_INFINITY);
    held = [];
  } finally {
    for (const ring of rings) ring.close();
  }
}

/** The events that the nodes' rings hold now, oldest first. @throws CliError as mapTable */
export function pastFlows(nodes: readonly string[]): FlowEvent[] {
  const rings: Ring[] = [];
  try {
    for (const node of nodes) rings.push(new Ring(node));
    return pastOf(rings);
  } finally {
    for (const ring of rings) ring.close();
  }
}

const pastOf = (rings: readonly Ring[]): FlowEvent[] =>
  rings.flatMap((ring) => ring.past(monotonicMs())).sort((a, b) => a.atMs - b.atMs);

/** The ring of one node, with the read position. */
class Ring {
  private readonly node: string;
  private readonly table: Conntrack;
  private readonly unmap: () => void;
  private readonly copy = new Int32Array(EVENT_WORDS);
  private readonly doubles = new Float64Array(this.copy.buffer);
  private renewedMs = Number.NEGATIVE_INFINITY;
  /** Time of the last event that was read. */
  private lastMs = Number.NEGATIVE_INFINITY;
  private next: number;

  constructor(node: string) {
    const { table, close } = mapTable(node);
    this.node = node;
    this.table = table;
    this.unmap = close;
    this.next = eventHead(table);
  }

  /** Marks the ring as followed, and advances its clock while no worker does. @returns false if the node is gone */
  renew(nowMs: number): boolean {
    if (nowMs - this.renewedMs >= RENEW_MS) {
      if (!nodesWithFlows().includes(this.node)) {
        this.unmap();
        return false;
      }
      follow(this.table, nowMs);
      this.renewedMs = nowMs;
    }
    stampEvents(this.table, nowMs);
    return true;
  }

  read(nowMs: number, onEvent: (event: FlowEvent) => void, onMissed: FollowOptions['onMissed']): void {
    const { node, table, copy } = this;
    for (;;) {
      const kind = readEvent(table, this.next, copy);
      if (kind === NOT_YET) return;
      if (kind === OVERTAKEN) {
        const head = eventHead(table);
        onMissed(node, (head - this.next) | 0);
        this.next = head;
        return;
      }
      this.next = (this.next + 1) | 0;
      onEvent(this.event(kind as EventKind, nowMs));
    }
  }

  /** The events before the read position that are not overwritten yet. Slots that were never written are left out. */
  past(nowMs: number): FlowEvent[] {
    const events: FlowEvent[] = [];
    for (let back = EVENT_SLOTS; back > 0; back--) {
      const kind = readEvent(this.table, (this.next - back) | 0, this.copy);
      if (kind !== NOT_YET && kind !== OVERTAKEN) events.push(this.event(kind as EventKind, nowMs));
    }
    return events;
  }

  /** The event that `copy` holds. */
  private event(kind: EventKind, nowMs: number): FlowEvent {
    const { node, table, copy, doubles } = this;
    const flow = flowText(table, copy, doubles, EVENT_RECORD, nowMs);
    const wholeMs = Math.floor(nowMs);
    // The order of the ring is the order in which things happened. Its clock is set by every worker and by followers,
    // and a thread that was preempted before it stored the time sets it back.
    this.lastMs = Math.max(this.lastMs, wholeMs - ((wholeMs - eventTime(copy)) | 0));
    return { node, kind: KINDS[kind], flow, atMs: this.lastMs };
  }

  close(): void {
    this.unmap();
  }
}

function pause(milliseconds: number, ended: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      ended.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    ended.addEventListener('abort', done);
  });
}
