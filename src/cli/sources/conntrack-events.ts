/**
 * Follows the events of connections: reads the rings that the nodes' workers write while there is a follower, and
 * merges them by time. What earlier followers caused to be written can be read until it is overwritten.
 */
import {
  advanceClock,
  EVENT_RECORD,
  EventKind,
  eventHead,
  eventMicros,
  eventTime,
  follow,
  NOT_YET,
  OVERTAKEN,
  readEvent,
} from '../../../native-free-dataplane/conntrack/events.ts';
import { type Conntrack, EVENT_SLOTS, EVENT_WORDS } from '../../../native-free-dataplane/conntrack/record.ts';
import type { FlowText } from '../../../native-free-dataplane/print/flow.ts';
import { flowText } from '../../../native-free-dataplane/print/record.ts';
import { mapTable, nodesWithFlows } from './conntrack.ts';
import {
  type EventSource,
  type FollowOptions,
  followEvents,
  type OnMissed,
  pastEvents,
  wholeTime,
} from './follow-events.ts';

export interface FlowEvent {
  readonly node: string;
  readonly kind: 'NEW' | 'UPDATE' | 'DESTROY';
  readonly flow: FlowText;
  /** Monotonic time in milliseconds, to the microsecond; never earlier than that of the node's event before it. */
  readonly atMs: number;
}

const KINDS = { [EventKind.NEW]: 'NEW', [EventKind.UPDATE]: 'UPDATE', [EventKind.DESTROY]: 'DESTROY' } as const;

/** How often the follower's mark is renewed, in milliseconds. */
const RENEW_MS = 1000;

/**
 * Delivers the events of these nodes, oldest first, until `ended` or until no node is left. @throws CliError as
 * mapTable
 */
export function followFlows(nodes: readonly string[], options: FollowOptions<FlowEvent>): Promise<void> {
  return followEvents(connectionEvents(nodes), options);
}

/** The rings of these nodes. @throws CliError as mapTable */
export function connectionEvents(nodes: readonly string[]): EventSource<FlowEvent>[] {
  const rings: Ring[] = [];
  try {
    for (const node of nodes) rings.push(new Ring(node));
    return rings;
  } catch (error) {
    for (const ring of rings) ring.close();
    throw error;
  }
}

/** The events that the nodes' rings hold now, oldest first. @throws CliError as mapTable */
export function pastFlows(nodes: readonly string[]): FlowEvent[] {
  const rings = connectionEvents(nodes);
  try {
    return pastEvents(rings);
  } finally {
    for (const ring of rings) ring.close();
  }
}

/** The ring of one node, with the read position. */
class Ring implements EventSource<FlowEvent> {
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
    advanceClock(this.table, nowMs);
    return true;
  }

  read(nowMs: number, onEvent: (event: FlowEvent) => void, onMissed: OnMissed): void {
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
    // The order of the ring is the order in which things happened. Its clock is set by every worker and by followers,
    // and a thread that was preempted before it stored the time sets it back.
    this.lastMs = Math.max(this.lastMs, wholeTime(eventTime(copy), nowMs) + eventMicros(copy) / 1000);
    return { node, kind: KINDS[kind], flow, atMs: this.lastMs };
  }

  close(): void {
    this.unmap();
  }
}
