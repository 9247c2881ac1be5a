/**
 * Edges of the topology: connections by their ends, with rates. Rates are means over the last seconds that forget
 * exponentially, so that an edge needs two numbers and no list of events.
 */
import type { FlowEnds } from './flow-ends.ts';
import type { EdgeView } from './protocol.ts';

/** Edges that are kept; of more, the one that was quiet the longest is dropped. */
const MAX_EDGES = 2000;
/** An edge without traffic stays so long, in milliseconds. */
const QUIET_MS = 10 * 60_000;
/** Time after which a burst has lost two thirds of its share in the rate, in milliseconds. */
const MEMORY_MS = 2000;
/** A rate below is 0: the edge is not drawn as active for ever. */
const LEAST_RATE = 0.02;

interface Edge {
  readonly ends: FlowEnds;
  sample: FlowEnds['sample'];
  opened: number;
  dropped: number;
  lastDrop: string;
  openedPerSecond: number;
  dropsPerSecond: number;
  bytesPerSecond: number;
  openedNow: number;
  droppedNow: number;
  lastMs: number;
  changed: boolean;
}

export const edgeId = ({ from, to, service, protocol, port }: FlowEnds): string =>
  [from, service, to, protocol, port].join(' ');

export class EdgeBook {
  private readonly edges = new Map<string, Edge>();
  private gone = false;

  get size(): number {
    return this.edges.size;
  }

  /** A connection began. */
  opened(ends: FlowEnds, nowMs: number): void {
    const edge = this.edge(ends, nowMs);
    edge.opened++;
    edge.openedNow++;
    edge.sample = ends.sample;
  }

  /** A packet did not arrive. @param reason our name of it */
  dropped(ends: FlowEnds, reason: string, nowMs: number): void {
    const edge = this.edge(ends, nowMs);
    edge.dropped++;
    edge.droppedNow++;
    edge.lastDrop = reason;
    edge.sample = ends.sample;
  }

  /** The bytes a second of all edges as measured now; edges that are left out carry nothing. */
  carried(measured: readonly { readonly ends: FlowEnds; readonly bytesPerSecond: number }[], nowMs: number): void {
    const sums = new Map<Edge, number>();
    for (const { ends, bytesPerSecond } of measured) {
      const edge = this.edge(ends, nowMs);
      sums.set(edge, (sums.get(edge) ?? 0) + bytesPerSecond);
    }
    for (const edge of this.edges.values()) {
      const now = Math.round(sums.get(edge) ?? 0);
      if (now !== edge.bytesPerSecond) edge.changed = true;
      edge.bytesPerSecond = now;
    }
  }

  /** Ends a period of time: rates follow what was counted in it. */
  tick(periodMs: number, nowMs: number): void {
    const keep = Math.exp(-periodMs / MEMORY_MS);
    for (const [id, edge] of this.edges) {
      const before = edge.openedPerSecond + edge.dropsPerSecond;
      edge.openedPerSecond = smoothed(edge.openedPerSecond, (edge.openedNow * 1000) / periodMs, keep);
      edge.dropsPerSecond = smoothed(edge.dropsPerSecond, (edge.droppedNow * 1000) / periodMs, keep);
      if (edge.openedPerSecond + edge.dropsPerSecond !== before || edge.openedNow + edge.droppedNow > 0) {
        edge.changed = true;
      }
      edge.openedNow = 0;
      edge.droppedNow = 0;
      if (nowMs - edge.lastMs > QUIET_MS && edge.bytesPerSecond === 0) this.remove(id);
    }
  }

  /** All edges. */
  all(): EdgeView[] {
    return [...this.edges].map(([id, edge]) => viewOf(id, edge));
  }

  /** The edges that changed since the last call; all of them, and `whole`, if some were removed. */
  changed(): { readonly edges: EdgeView[]; readonly whole: boolean } {
    const whole = this.gone;
    this.gone = false;
    const edges: EdgeView[] = [];
    for (const [id, edge] of this.edges) {
      if (whole || edge.changed) edges.push(viewOf(id, edge));
      edge.changed = false;
    }
    return { edges, whole };
  }

  private edge(ends: FlowEnds, nowMs: number): Edge {
    const id = edgeId(ends);
    let edge = this.edges.get(id);
    if (edge === undefined) {
      if (this.edges.size >= MAX_EDGES) this.removeQuietest();
      edge = {
        ends,
        sample: ends.sample,
        opened: 0,
        dropped: 0,
        lastDrop: '',
        openedPerSecond: 0,
        dropsPerSecond: 0,
        bytesPerSecond: 0,
        openedNow: 0,
        droppedNow: 0,
        lastMs: nowMs,
        changed: true,
      };
      this.edges.set(id, edge);
    }
    edge.lastMs = nowMs;
    return edge;
  }

  private removeQuietest(): void {
    let quietest: string | undefined;
    let lastMs = Number.POSITIVE_INFINITY;
    for (const [id, edge] of this.edges) {
      if (edge.lastMs >= lastMs) continue;
      quietest = id;
      lastMs = edge.lastMs;
    }
    if (quietest !== undefined) this.remove(quietest);
  }

  private remove(id: string): void {
    this.edges.delete(id);
    this.gone = true;
  }
}

function smoothed(rate: number, now: number, keep: number): number {
  const next = rate * keep + now * (1 - keep);
  return next < LEAST_RATE ? 0 : next;
}

const hundredths = (rate: number): number => Math.round(rate * 100) / 100;

function viewOf(id: string, edge: Edge): EdgeView {
  const { from, to, service, protocol, port } = edge.ends;
  return {
    id,
    from,
    to,
    service,
    protocol,
    port,
    openedPerSecond: hundredths(edge.openedPerSecond),
    dropsPerSecond: hundredths(edge.dropsPerSecond),
    bytesPerSecond: edge.bytesPerSecond,
    opened: edge.opened,
    dropped: edge.dropped,
    lastDrop: edge.lastDrop,
    sample: edge.sample,
  };
}
