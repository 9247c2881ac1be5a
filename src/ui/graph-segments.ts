/** Edges as lines between boxes: one line for all edges that share two ends, through their Service if they have one. Pure. */
import { type Box, curveBetween, type GraphLayout, type Point, pointOn } from './graph-layout.ts';
import type { EdgeView, Topology } from './protocol.ts';
import { nodeId } from './topology.ts';

export type Curve = readonly [Point, Point, Point, Point];

export interface Segment {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  readonly curve: Curve;
  /** 0 to 1: where its dots begin, so that those of many lines do not move in step. */
  readonly phase: number;
  openedPerSecond: number;
  dropsPerSecond: number;
  bytesPerSecond: number;
  dropped: number;
  readonly edges: string[];
}

/** @param drawnAt the box at which an end is drawn: its own, or that of its node, where there are many pods */
export function segmentsOf(
  edges: Iterable<EdgeView>,
  layout: GraphLayout,
  drawnAt: (id: string, edge: EdgeView) => string = (id) => id,
): Segment[] {
  const found = new Map<string, Segment>();
  for (const edge of edges) {
    const { from, service, to } = edge;
    // A Service that is not drawn, such as one that was deleted, is passed over.
    const stops = [from, service, to].map((id) => drawnAt(id, edge)).filter((id) => layout.boxes.has(id));
    for (let i = 1; i < stops.length; i++) {
      const [a, b] = [stops[i - 1]!, stops[i]!];
      if (a !== b) add(found, a, b, edge, layout);
    }
  }
  return [...found.values()];
}

function add(found: Map<string, Segment>, from: string, to: string, edge: EdgeView, layout: GraphLayout): void {
  const id = `${from} ${to}`;
  let segment = found.get(id);
  if (segment === undefined) {
    const none = { openedPerSecond: 0, dropsPerSecond: 0, bytesPerSecond: 0, dropped: 0 };
    segment = { id, from, to, ...curveOf(layout, id, from, to), ...none, edges: [] };
    found.set(id, segment);
  }
  segment.openedPerSecond += edge.openedPerSecond;
  segment.dropsPerSecond += edge.dropsPerSecond;
  segment.bytesPerSecond += edge.bytesPerSecond;
  segment.dropped += edge.dropped;
  segment.edges.push(edge.id);
}

/** More pods than this have lines of their own only while they are selected. */
const MANY_PODS = 80;

/** Where ends are drawn: with many pods, at their nodes, except for edges that touch what is selected. */
export function drawnAtNodes({ pods }: Topology, selected: string): (id: string, edge: EdgeView) => string {
  if (pods.length <= MANY_PODS) return (id) => id;
  const nodes = new Map(pods.map(({ id, node }) => [id, nodeId(node)]));
  return (id, { from, service, to }) => {
    const isSelected = selected !== '' && (from === selected || service === selected || to === selected);
    return isSelected ? id : (nodes.get(id) ?? id);
  };
}

/** Curves depend on the layout only, and are needed again with every update of the traffic. */
const curves = new WeakMap<GraphLayout, Map<string, Pick<Segment, 'curve' | 'phase'>>>();

function curveOf(layout: GraphLayout, id: string, from: string, to: string): Pick<Segment, 'curve' | 'phase'> {
  const known = curves.get(layout) ?? new Map<string, Pick<Segment, 'curve' | 'phase'>>();
  curves.set(layout, known);
  let found = known.get(id);
  if (found === undefined) {
    const box = (name: string): Box => layout.boxes.get(name)!;
    // The golden ratio spreads any number of them.
    found = { curve: curveBetween(box(from), box(to)), phase: (known.size * 0.618) % 1 };
    known.set(id, found);
  }
  return found;
}

/** Points per curve at which its distance is measured. */
const SAMPLES = 24;

/** The segment nearest to a point, within a distance; undefined if none is. */
export function segmentAt(segments: readonly Segment[], { x, y }: Point, within: number): Segment | undefined {
  let best: Segment | undefined;
  let least = within * within;
  for (const segment of segments) {
    for (let i = 0; i <= SAMPLES; i++) {
      const point = pointOn(segment.curve, i / SAMPLES);
      const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (distance >= least) continue;
      least = distance;
      best = segment;
    }
  }
  return best;
}
