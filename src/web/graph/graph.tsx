/** The topology: a canvas that is moved by the pointer or by keys, with the selection read aloud. */
import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { type Box, type GraphLayout, layoutOf, neighbour, type Point } from '../../ui/graph-layout.ts';
import { drawnAtNodes, type Segment, segmentAt, segmentsOf } from '../../ui/graph-segments.ts';
import type { EdgeView, NodeLoadView, Topology } from '../../ui/protocol.ts';
import { t } from '../texts.ts';
import { theme } from '../theme.ts';
import { readColours } from './colours.ts';
import { drawBoxes, drawDots, drawGround, type Scene, type View } from './draw.ts';
import { frameTimes } from './frame-times.ts';

export interface GraphProps {
  readonly topology: Topology;
  readonly edges: readonly EdgeView[];
  readonly loads: readonly NodeLoadView[];
  readonly selected: string;
  readonly path: ReadonlySet<string>;
  /** The identifier of a box, or that of a segment; '' for nothing. */
  readonly onSelect: (id: string, edges: readonly string[]) => void;
}

const MARGIN = 24;
const MIN_SCALE = 0.08;
const MAX_SCALE = 2.5;
const ZOOM_STEP = 1.25;
const PAN_STEP = 60;
/** Pixels within which a line is hit. */
const HIT = 8;

export function Graph({ topology, edges, loads, selected, path, onSelect }: GraphProps): JSX.Element {
  const ground = useRef<HTMLCanvasElement>(null);
  const dots = useRef<HTMLCanvasElement>(null);
  const boxes = useRef<HTMLCanvasElement>(null);
  const frame = useRef<HTMLDivElement>(null);
  const hovered = useSignal('');
  const aspect = useSignal(1.6);
  const view = useRef<View>({ x: 0, y: 0, scale: 1 });
  const touched = useRef(false);
  /** What has to be drawn again in the next frame. */
  const stale = useRef({ ground: true, boxes: true });
  // What is drawn where depends on the objects, not on their states.
  const shape =
    topology.pods.map(({ id, node }) => `${id}@${node}`).join() + topology.services.map(({ id }) => id).join();
  const layout = useMemo(() => layoutOf(topology, aspect.value), [shape, topology.nodes.length, aspect.value]);
  const drawnAt = useMemo(() => drawnAtNodes(topology, selected), [topology, selected]);
  const segments = useMemo(() => segmentsOf(edges, layout, drawnAt), [edges, layout, drawnAt]);
  const colours = useMemo(readColours, [theme.value]);
  const scene: Scene = {
    layout,
    topology,
    segments,
    loads,
    selected,
    hovered: hovered.value,
    path,
    colours,
    outsideLabel: t('outside'),
  };
  const current = useRef(scene);
  const last = current.current;
  const same = BOTH.every((part) => last[part] === scene[part]);
  if (!same || last.segments !== segments) stale.current.ground = true;
  if (!same || last.topology !== topology || last.loads !== loads) stale.current.boxes = true;
  current.current = scene;

  const fit = () => {
    const { clientWidth, clientHeight } = frame.current!;
    view.current = fitted(layout, clientWidth, clientHeight);
    stale.current = { ground: true, boxes: true };
  };

  useEffect(() => {
    if (!touched.current) fit();
  }, [layout]);

  useEffect(() => {
    const element = frame.current!;
    const observer = new ResizeObserver(() => {
      for (const canvas of [ground.current!, dots.current!, boxes.current!]) {
        canvas.width = element.clientWidth * devicePixelRatio;
        canvas.height = element.clientHeight * devicePixelRatio;
      }
      // In steps, so that a few pixels do not move everything.
      aspect.value = Math.round((element.clientWidth / Math.max(1, element.clientHeight)) * 4) / 4;
      if (!touched.current) fit();
      stale.current = { ground: true, boxes: true };
    });
    observer.observe(element);
    const calm = matchMedia('(prefers-reduced-motion: reduce)');
    let request = requestAnimationFrame(function paint(nowMs) {
      const began = performance.now();
      if (stale.current.ground) drawGround(contextOf(ground), current.current, view.current);
      if (stale.current.boxes) drawBoxes(contextOf(boxes), current.current, view.current);
      stale.current = { ground: false, boxes: false };
      if (!calm.matches) drawDots(contextOf(dots), current.current, view.current, nowMs);
      frameTimes.add(nowMs, performance.now() - began);
      request = requestAnimationFrame(paint);
    });
    return () => {
      observer.disconnect();
      cancelAnimationFrame(request);
    };
  }, []);

  const at = (event: MouseEvent): Point => {
    const { left, top } = frame.current!.getBoundingClientRect();
    const { x, y, scale } = view.current;
    return { x: (event.clientX - left - x) / scale, y: (event.clientY - top - y) / scale };
  };
  const change = (next: View) => {
    touched.current = true;
    view.current = next;
    stale.current = { ground: true, boxes: true };
  };
  const zoom = (factor: number, around?: Point) => {
    const { x, y, scale } = view.current;
    const { clientWidth, clientHeight } = frame.current!;
    const center = around ?? { x: (clientWidth / 2 - x) / scale, y: (clientHeight / 2 - y) / scale };
    const next = Math.min(MAX_SCALE, Math.max(MIN_SCALE, scale * factor));
    change({ x: x + center.x * (scale - next), y: y + center.y * (scale - next), scale: next });
  };
  const pick = (id: string, list: readonly string[] = []) => onSelect(id, list);
  const drag = useRef<{ x: number; y: number; moved: boolean } | undefined>(undefined);

  const onKeyDown = (event: KeyboardEvent) => {
    const arrow = ARROWS[event.key];
    if (arrow !== undefined && event.shiftKey) {
      const { x, y, scale } = view.current;
      change({ x: x - arrow[0] * PAN_STEP, y: y - arrow[1] * PAN_STEP, scale });
    } else if (arrow !== undefined) {
      const next = neighbour(layout, selected, arrow[0], arrow[1]);
      reveal(next);
      pick(next);
    } else if (event.key === '+' || event.key === '=') zoom(ZOOM_STEP);
    else if (event.key === '-') zoom(1 / ZOOM_STEP);
    else if (event.key === '0') {
      touched.current = false;
      fit();
    } else if (event.key === 'Escape') pick('');
    else return;
    event.preventDefault();
  };

  /** Moves the view so that a box is in it. */
  const reveal = (id: string) => {
    const one = layout.boxes.get(id);
    if (one === undefined) return;
    const { x, y, scale } = view.current;
    const { clientWidth, clientHeight } = frame.current!;
    const dx = shiftInto(one.x * scale + x, (one.x + one.width) * scale + x, clientWidth);
    const dy = shiftInto(one.y * scale + y, one.y * scale + y + Math.min(one.height * scale, 60), clientHeight);
    if (dx !== 0 || dy !== 0) change({ x: x + dx, y: y + dy, scale });
  };

  return (
    <div class="graph">
      <div
        ref={frame}
        class="graph-frame"
        role="application"
        tabIndex={0}
        aria-label={t('topologyHelp')}
        onKeyDown={onKeyDown}
        onWheel={(event) => {
          event.preventDefault();
          zoom(Math.exp(-event.deltaY * 0.0015), at(event));
        }}
        onPointerDown={(event) => {
          drag.current = { x: event.clientX, y: event.clientY, moved: false };
          frame.current!.setPointerCapture(event.pointerId);
        }}
        onPointerMove={(event) => {
          const start = drag.current;
          if (start === undefined) {
            hovered.value = whatIsAt(scene, at(event), view.current.scale)?.id ?? '';
            return;
          }
          const [dx, dy] = [event.clientX - start.x, event.clientY - start.y];
          if (!start.moved && Math.hypot(dx, dy) < 4) return;
          drag.current = { x: event.clientX, y: event.clientY, moved: true };
          const { x, y, scale } = view.current;
          change({ x: x + dx, y: y + dy, scale });
        }}
        onPointerUp={(event) => {
          const moved = drag.current?.moved;
          drag.current = undefined;
          if (moved) return;
          const found = whatIsAt(scene, at(event), view.current.scale);
          pick(found?.id ?? '', found !== undefined && 'edges' in found ? found.edges : []);
        }}
      >
        <canvas ref={ground} aria-hidden="true" />
        <canvas ref={dots} aria-hidden="true" />
        <canvas ref={boxes} aria-hidden="true" />
      </div>
      <div class="graph-tools">
        <button type="button" onClick={() => zoom(ZOOM_STEP)} aria-label={t('zoomIn')}>
          +
        </button>
        <button type="button" onClick={() => zoom(1 / ZOOM_STEP)} aria-label={t('zoomOut')}>
          −
        </button>
        <button
          type="button"
          onClick={() => {
            touched.current = false;
            fit();
          }}
        >
          {t('fit')}
        </button>
      </div>
    </div>
  );
}

/** Parts of the scene that both pictures show. */
const BOTH = ['layout', 'selected', 'hovered', 'path', 'colours', 'outsideLabel'] as const;

const contextOf = ({ current }: { current: HTMLCanvasElement | null }): CanvasRenderingContext2D =>
  current!.getContext('2d')!;

const ARROWS: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

function fitted({ width, height }: GraphLayout, clientWidth: number, clientHeight: number): View {
  const wanted = Math.min((clientWidth - 2 * MARGIN) / width, (clientHeight - 2 * MARGIN) / height);
  const scale = Math.min(1.4, Math.max(MIN_SCALE, wanted));
  return { x: (clientWidth - width * scale) / 2, y: Math.max(MARGIN, (clientHeight - height * scale) / 2), scale };
}

function shiftInto(first: number, last: number, size: number): number {
  if (first < MARGIN) return MARGIN - first;
  return last > size - MARGIN ? size - MARGIN - last : 0;
}

function whatIsAt({ layout, segments }: Scene, point: Point, scale: number): Box | Segment | undefined {
  let node: Box | undefined;
  for (const one of layout.boxes.values()) {
    const inside =
      point.x >= one.x && point.x <= one.x + one.width && point.y >= one.y && point.y <= one.y + one.height;
    if (!inside) continue;
    if (one.kind !== 'node') return one;
    node = one;
  }
  return segmentAt(segments, point, HIT / scale) ?? node;
}
