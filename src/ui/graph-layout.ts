/**
 * Where the topology's parts are drawn: the outside on top, below it the Services, and below them a panel for each node with
 * its pods in a grid. The places follow from the objects alone, so nothing moves while traffic flows. Pure.
 */
import { OUTSIDE, type Topology } from './protocol.ts';
import { nodeId } from './topology.ts';

export interface Box {
  readonly id: string;
  readonly kind: 'outside' | 'service' | 'node' | 'pod';
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface GraphLayout {
  readonly boxes: ReadonlyMap<string, Box>;
  readonly width: number;
  readonly height: number;
}

const POD = { width: 150, height: 34, gap: 10 };
const SERVICE = { width: 170, height: 40, gap: 18 };
const PANEL = { padding: 14, head: 34, gap: 28 };
const OUTSIDE_BOX = { width: 130, height: 40 };
const ROW_GAP = 56;
/** A second row of Services must show everything so much larger: lines to it pass behind the first. */
const ANOTHER_ROW = 0.85;
/** Width to height of a node's panel with many pods. */
const PANEL_ASPECT = 1.7;
/** Pods without a node are in a panel of this name. */
const PENDING = '';

/** @param aspect width to height of the area in which all of it is shown */
export function layoutOf(topology: Topology, aspect = PANEL_ASPECT): GraphLayout {
  const panels = panelsOf(topology);
  const services = topology.services.length;
  let best: GraphLayout | undefined;
  let most = 0;
  for (let serviceRows = 1; serviceRows <= Math.max(1, Math.ceil(Math.sqrt(services))); serviceRows++) {
    for (let perRow = 1; perRow <= Math.max(1, panels.length); perRow++) {
      const one = arrange(topology, panels, perRow, Math.max(1, Math.ceil(services / serviceRows)));
      const size = shownSize(one, aspect) * ANOTHER_ROW ** (serviceRows - 1);
      if (size < most) continue;
      most = size;
      best = one;
    }
  }
  return best!;
}

/** How large things are in an area of this aspect. */
const shownSize = ({ width, height }: GraphLayout, aspect: number): number => Math.min(aspect / width, 1 / height);

function panelsOf({ nodes, pods }: Topology): Panel[] {
  const byNode = new Map<string, string[]>(nodes.map(({ name }) => [name, []]));
  for (const { id, node } of pods) {
    const known = byNode.has(node) ? node : PENDING;
    const list = byNode.get(known);
    if (list === undefined) byNode.set(known, [id]);
    else list.push(id);
  }
  return [...byNode].map(([name, ids]) => ({ name, ids, ...panelSize(ids.length) }));
}

/** The outside on top, then the Services, then the nodes, so many of each in a row. */
function arrange({ services }: Topology, panels: readonly Panel[], perRow: number, perServiceRow: number): GraphLayout {
  const boxes = new Map<string, Box>();
  const rows = chunks(panels, perRow);
  const rowWidths = rows.map((row) => row.reduce((sum, { width }) => sum + width + PANEL.gap, -PANEL.gap));
  const serviceRow = Math.min(services.length, perServiceRow) * (SERVICE.width + SERVICE.gap) - SERVICE.gap;
  const width = Math.max(...rowWidths, serviceRow, OUTSIDE_BOX.width);
  boxes.set(OUTSIDE, { id: OUTSIDE, kind: 'outside', x: (width - OUTSIDE_BOX.width) / 2, y: 0, ...OUTSIDE_BOX });
  let y = OUTSIDE_BOX.height + ROW_GAP;
  for (const row of chunks(services, perServiceRow)) {
    const left = (width - row.length * (SERVICE.width + SERVICE.gap) + SERVICE.gap) / 2;
    row.forEach(({ id }, i) => {
      const x = left + i * (SERVICE.width + SERVICE.gap);
      boxes.set(id, { id, kind: 'service', x, y, width: SERVICE.width, height: SERVICE.height });
    });
    y += SERVICE.height + SERVICE.gap;
  }
  if (services.length > 0) y += ROW_GAP - SERVICE.gap;
  rows.forEach((row, number) => {
    let x = (width - rowWidths[number]!) / 2;
    for (const panel of row) {
      placePanel(boxes, panel, x, y);
      x += panel.width + PANEL.gap;
    }
    y += Math.max(...row.map(({ height }) => height)) + PANEL.gap;
  });
  return { boxes, width, height: y - PANEL.gap };
}

function panelSize(pods: number): { columns: number; width: number; height: number } {
  const cell = (POD.width + POD.gap) / (POD.height + POD.gap);
  const columns = Math.max(2, Math.ceil(Math.sqrt((pods * PANEL_ASPECT) / cell)));
  const lines = Math.max(1, Math.ceil(pods / columns));
  return {
    columns,
    width: columns * (POD.width + POD.gap) - POD.gap + 2 * PANEL.padding,
    height: lines * (POD.height + POD.gap) - POD.gap + 2 * PANEL.padding + PANEL.head,
  };
}

interface Panel {
  readonly name: string;
  readonly ids: readonly string[];
  readonly columns: number;
  readonly width: number;
  readonly height: number;
}

function placePanel(boxes: Map<string, Box>, { name, ids, columns, width, height }: Panel, x: number, y: number): void {
  const id = nodeId(name);
  boxes.set(id, { id, kind: 'node', x, y, width, height });
  ids.forEach((pod, i) => {
    boxes.set(pod, {
      id: pod,
      kind: 'pod',
      x: x + PANEL.padding + (i % columns) * (POD.width + POD.gap),
      y: y + PANEL.head + PANEL.padding + Math.floor(i / columns) * (POD.height + POD.gap),
      width: POD.width,
      height: POD.height,
    });
  });
}

function chunks<T>(all: readonly T[], size: number): T[][] {
  const found: T[][] = [];
  for (let i = 0; i < all.length; i += size) found.push(all.slice(i, i + size));
  return found;
}

/** The box that is next in a direction; the one itself if there is none. For the arrow keys. */
export function neighbour(layout: GraphLayout, id: string, dx: number, dy: number): string {
  const from = layout.boxes.get(id);
  if (from === undefined) return [...layout.boxes.keys()].find((key) => key.startsWith('pod:')) ?? OUTSIDE;
  const center = (box: Box) => ({ x: box.x + box.width / 2, y: box.kind === 'node' ? box.y : box.y + box.height / 2 });
  const a = center(from);
  let best = id;
  let least = Number.POSITIVE_INFINITY;
  for (const box of layout.boxes.values()) {
    if (box.id === id) continue;
    const b = center(box);
    const along = (b.x - a.x) * dx + (b.y - a.y) * dy;
    const across = Math.abs((b.x - a.x) * dy) + Math.abs((b.y - a.y) * dx);
    if (along <= 1) continue;
    const distance = along + 2.5 * across;
    if (distance >= least) continue;
    least = distance;
    best = box.id;
  }
  return best;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A curve between two boxes, as a cubic Bézier: from the sides that face each other. */
export function curveBetween(from: Box, to: Box): readonly [Point, Point, Point, Point] {
  const a = { x: from.x + from.width / 2, y: from.y + from.height / 2 };
  const b = { x: to.x + to.width / 2, y: to.y + to.height / 2 };
  const vertical = Math.abs(b.y - a.y) > (from.height + to.height) / 2;
  if (vertical) {
    const down = b.y > a.y ? 1 : -1;
    const start = { x: a.x, y: a.y + (down * from.height) / 2 };
    const end = { x: b.x, y: b.y - (down * to.height) / 2 };
    const bend = Math.max(24, Math.abs(end.y - start.y) / 2);
    return [start, { x: start.x, y: start.y + down * bend }, { x: end.x, y: end.y - down * bend }, end];
  }
  const right = b.x > a.x ? 1 : -1;
  const start = { x: a.x + (right * from.width) / 2, y: a.y };
  const end = { x: b.x - (right * to.width) / 2, y: b.y };
  const bend = Math.max(24, Math.abs(end.x - start.x) / 2);
  return [start, { x: start.x + right * bend, y: start.y }, { x: end.x - right * bend, y: end.y }, end];
}

/** A point of a Bézier curve. @param t 0 to 1 */
export function pointOn([a, b, c, d]: readonly [Point, Point, Point, Point], t: number): Point {
  const u = 1 - t;
  const wa = u * u * u;
  const wb = 3 * u * u * t;
  const wc = 3 * u * t * t;
  const wd = t * t * t;
  return { x: wa * a.x + wb * b.x + wc * c.x + wd * d.x, y: wa * a.y + wb * b.y + wc * c.y + wd * d.y };
}
