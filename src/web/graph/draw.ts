/**
 * Draws the topology on three canvases, one above the other: nodes and lines, the dots that move along the lines, and boxes
 * with their texts. Only the dots are drawn in every frame; the others when something changes.
 */
import { type Box, type GraphLayout, pointOn } from '../../ui/graph-layout.ts';
import type { Segment } from '../../ui/graph-segments.ts';
import type { NodeLoadView, PodView, ServiceView, Topology } from '../../ui/protocol.ts';
import { bytesRate, short } from '../numbers.ts';
import type { Colours } from './colours.ts';

export interface View {
  readonly x: number;
  readonly y: number;
  readonly scale: number;
}

export interface Scene {
  readonly layout: GraphLayout;
  readonly topology: Topology;
  readonly segments: readonly Segment[];
  readonly loads: readonly NodeLoadView[];
  readonly selected: string;
  readonly hovered: string;
  /** Boxes of a walk that is shown, in order. */
  readonly path: ReadonlySet<string>;
  readonly colours: Colours;
  readonly outsideLabel: string;
}

const FONT = '13px system-ui, sans-serif';
const SMALL = '11px system-ui, sans-serif';
const BOLD: string = `600 ${FONT}`;
/** Pixels on the screen of a large title. */
const LARGE = 13;
const RADIUS = 7;
/** Below this scale text cannot be read, and is not drawn. */
const TEXT_SCALE = 0.45;
const DOT = 3;
/** Dots travel a line in so many milliseconds. */
const TRAVEL_MS = 1800;
/** Dots at once: with many lines, each has fewer. */
const MAX_DOTS = 900;
/** Bytes a second that count as one connection a second. */
const BYTES_OF_A_CONNECTION = 50_000;

/** What is below the moving dots: nodes, and lines. */
export function drawGround(context: CanvasRenderingContext2D, scene: Scene, view: View): void {
  begin(context, view);
  for (const one of scene.layout.boxes.values()) if (one.kind === 'node') drawNode(context, one, scene);
  for (const segment of scene.segments) drawSegment(context, segment, scene);
}

/** What is above them: the titles of nodes, pods, Services, and the outside. */
export function drawBoxes(context: CanvasRenderingContext2D, scene: Scene, view: View): void {
  begin(context, view);
  const pods = new Map(scene.topology.pods.map((pod) => [pod.id, pod]));
  const services = new Map(scene.topology.services.map((service) => [service.id, service]));
  context.font = FONT;
  for (const one of scene.layout.boxes.values()) {
    if (one.kind === 'pod') drawPod(context, one, pods.get(one.id), scene, view);
  }
  for (const one of scene.layout.boxes.values()) {
    if (one.kind === 'pod') continue;
    if (one.kind === 'service') drawService(context, one, services.get(one.id), scene, view);
    else if (one.kind === 'node') drawTitle(context, one, scene, view);
    else drawOutside(context, one, scene, view);
  }
}

function begin(context: CanvasRenderingContext2D, view: View): void {
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  place(context, view);
  context.textBaseline = 'middle';
}

function place(context: CanvasRenderingContext2D, { x, y, scale }: View): void {
  const ratio = devicePixelRatio;
  context.setTransform(scale * ratio, 0, 0, scale * ratio, x * ratio, y * ratio);
}

/** Dots on the lines with traffic. Small pictures are copied: shapes take several times as long. */
export function drawDots(context: CanvasRenderingContext2D, scene: Scene, { x, y, scale }: View, nowMs: number): void {
  const { segments, colours } = scene;
  const ratio = devicePixelRatio;
  const radius = Math.max(1.5, DOT * Math.min(1.2, scale)) * ratio;
  const good = dotPicture(colours.accent, radius);
  const bad = dotPicture(colours.bad, radius);
  const half = good.width / 2;
  const active = segments.reduce((sum, segment) => sum + (trafficOf(segment) > 0 ? 1 : 0), 0);
  const most = Math.max(1, Math.min(6, Math.floor(MAX_DOTS / Math.max(1, active))));
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  for (const segment of segments) {
    const traffic = trafficOf(segment);
    if (traffic <= 0) continue;
    const picture = segment.dropsPerSecond > 0 ? bad : good;
    const count = Math.min(most, 1 + Math.floor(Math.log2(1 + traffic)));
    for (let i = 0; i < count; i++) {
      const dot = pointOn(segment.curve, (nowMs / TRAVEL_MS + segment.phase + i / count) % 1);
      const [left, top] = [(dot.x * scale + x) * ratio, (dot.y * scale + y) * ratio];
      context.drawImage(picture, Math.round(left - half), Math.round(top - half));
    }
  }
}

const trafficOf = ({ openedPerSecond, dropsPerSecond, bytesPerSecond }: Segment): number =>
  openedPerSecond + dropsPerSecond + bytesPerSecond / BYTES_OF_A_CONNECTION;

/** Pictures of dots, by colour and size. */
const pictures = new Map<string, HTMLCanvasElement>();
const MAX_PICTURES = 40;

function dotPicture(colour: string, radius: number): HTMLCanvasElement {
  const key = `${colour} ${radius.toFixed(1)}`;
  const known = pictures.get(key);
  if (known !== undefined) return known;
  if (pictures.size >= MAX_PICTURES) pictures.clear();
  const canvas = document.createElement('canvas');
  canvas.width = 2 * Math.ceil(radius + 1);
  canvas.height = canvas.width;
  const context = canvas.getContext('2d')!;
  context.fillStyle = colour;
  context.arc(canvas.width / 2, canvas.width / 2, radius, 0, 2 * Math.PI);
  context.fill();
  pictures.set(key, canvas);
  return canvas;
}

function box(context: CanvasRenderingContext2D, { x, y, width, height }: Box, radius = RADIUS): void {
  context.beginPath();
  context.roundRect(x, y, width, height, radius);
}

function outline(context: CanvasRenderingContext2D, one: Box, scene: Scene, plain: string): void {
  const { colours, selected, hovered, path } = scene;
  const marked = selected === one.id || path.has(one.id);
  context.strokeStyle = marked ? colours.accent : hovered === one.id ? colours.muted : plain;
  context.lineWidth = marked ? 2.5 : 1;
  context.stroke();
}

function drawNode(context: CanvasRenderingContext2D, one: Box, scene: Scene): void {
  box(context, one, 12);
  context.fillStyle = scene.colours.panel;
  context.fill();
  outline(context, one, scene, scene.colours.line);
}

function drawTitle(context: CanvasRenderingContext2D, one: Box, scene: Scene, { scale }: View): void {
  const { colours, topology, loads } = scene;
  const name = one.id.slice('node:'.length);
  if (scale < TEXT_SCALE) {
    const pods = topology.pods.filter((pod) => pod.node === name).length;
    drawLargeTitle(context, one, `${name} · ${pods} pods`, colours, scale);
    return;
  }
  const node = topology.nodes.find((each) => each.name === name);
  const title = name === '' ? '…' : name;
  const address = node?.ip ?? '';
  const y = one.y + 22;
  context.font = BOLD;
  const titleWidth = context.measureText(title).width;
  context.font = SMALL;
  const addressWidth = context.measureText(address).width;
  const load = loads.find((each) => each.name === name);
  const text = load === undefined ? '' : `${bytesRate(load.bytesPerSecond)} · ${short(load.framesPerSecond)} pps`;
  const textWidth = context.measureText(text).width;
  // Lines pass below the titles.
  context.fillStyle = colours.panel;
  context.fillRect(one.x + 8, y - 10, 36 + titleWidth + addressWidth, 20);
  const fits = textWidth > 0 && 60 + titleWidth + addressWidth + textWidth < one.width - 16;
  if (fits) {
    context.fillRect(one.x + one.width - 18 - textWidth, y - 10, textWidth + 8, 20);
    context.fillStyle = colours.muted;
    context.fillText(text, one.x + one.width - 14 - textWidth, y);
  }
  context.fillStyle = node?.ready ? colours.good : colours.bad;
  context.beginPath();
  context.arc(one.x + 20, y, 4, 0, 2 * Math.PI);
  context.fill();
  context.fillStyle = colours.muted;
  context.fillText(address, one.x + 40 + titleWidth, y);
  context.font = BOLD;
  context.fillStyle = colours.text;
  context.fillText(title, one.x + 32, y);
}

/** The title of a node whose pods are too small to read, as large as other texts. */
function drawLargeTitle(
  context: CanvasRenderingContext2D,
  one: Box,
  text: string,
  colours: Colours,
  scale: number,
): void {
  const size = LARGE / scale;
  context.font = `600 ${size}px system-ui, sans-serif`;
  const width = context.measureText(text).width + size;
  const [x, y] = [one.x + one.width / 2, one.y + Math.min(one.height / 2, size * 1.6)];
  context.fillStyle = colours.panel;
  context.beginPath();
  context.roundRect(x - width / 2, y - size, width, 2 * size, size);
  context.fill();
  context.textAlign = 'center';
  context.fillStyle = colours.text;
  context.fillText(text, x, y);
  context.textAlign = 'left';
}

function drawPod(
  context: CanvasRenderingContext2D,
  one: Box,
  pod: PodView | undefined,
  scene: Scene,
  { scale }: View,
): void {
  const { colours } = scene;
  box(context, one);
  context.fillStyle = colours['panel-2'];
  context.fill();
  outline(context, one, scene, colours.line);
  const state =
    pod?.phase === 'Running' && pod.ready ? colours.good : pod?.phase === 'Running' ? colours.warn : colours.muted;
  context.fillStyle = state;
  if (scale < TEXT_SCALE) {
    context.fillRect(one.x, one.y + 6, 4, one.height - 12);
    return;
  }
  context.beginPath();
  context.arc(one.x + 13, one.y + one.height / 2, 3.5, 0, 2 * Math.PI);
  context.fill();
  context.fillStyle = colours.text;
  context.fillText(fitted(context, FONT, pod?.name ?? '', one.width - 34), one.x + 24, one.y + one.height / 2 + 0.5);
}

function drawService(
  context: CanvasRenderingContext2D,
  one: Box,
  service: ServiceView | undefined,
  scene: Scene,
  { scale }: View,
): void {
  const { colours } = scene;
  box(context, one, one.height / 2);
  context.fillStyle = colours.panel;
  context.fill();
  outline(context, one, scene, service?.ready === 0 ? colours.warn : colours.service);
  if (scale < TEXT_SCALE) return;
  const middle = one.x + one.width / 2;
  context.textAlign = 'center';
  context.font = FONT;
  context.fillStyle = colours.text;
  context.fillText(fitted(context, FONT, service?.name ?? '', one.width - 32), middle, one.y + 14);
  context.font = SMALL;
  context.fillStyle = colours.muted;
  context.fillText(fitted(context, SMALL, addressOf(service), one.width - 24), middle, one.y + 29);
  context.textAlign = 'left';
}

/** `10.96.1.0:80 · 31418`: address and ports, and the NodePorts. */
function addressOf(service: ServiceView | undefined): string {
  if (service === undefined) return '';
  const ports = [...new Set(service.ports.map(({ port }) => port))].join(',');
  const nodePorts = service.ports.flatMap(({ nodePort }) => (nodePort === 0 ? [] : ` · ${nodePort}`)).join('');
  return service.ip === '' ? ports : `${service.ip}:${ports}${nodePorts}`;
}

function drawOutside(context: CanvasRenderingContext2D, one: Box, scene: Scene, { scale }: View): void {
  const { colours, outsideLabel } = scene;
  box(context, one, one.height / 2);
  context.fillStyle = colours.panel;
  context.fill();
  context.setLineDash([5, 4]);
  outline(context, one, scene, colours.muted);
  context.setLineDash([]);
  if (scale < TEXT_SCALE) return;
  context.font = FONT;
  context.fillStyle = colours.text;
  context.textAlign = 'center';
  context.fillText(outsideLabel, one.x + one.width / 2, one.y + one.height / 2);
  context.textAlign = 'left';
}

function drawSegment(context: CanvasRenderingContext2D, segment: Segment, scene: Scene): void {
  const { colours, selected, hovered, path } = scene;
  const [a, b, c, d] = segment.curve;
  const active = segment.openedPerSecond + segment.dropsPerSecond + segment.bytesPerSecond > 0;
  const touched =
    selected === segment.id || selected === segment.from || selected === segment.to || hovered === segment.id;
  const walked = path.has(segment.from) && path.has(segment.to);
  context.beginPath();
  context.moveTo(a.x, a.y);
  context.bezierCurveTo(b.x, b.y, c.x, c.y, d.x, d.y);
  const losing = segment.dropsPerSecond > 0;
  context.strokeStyle = losing
    ? colours.bad
    : touched || walked
      ? colours.accent
      : active
        ? colours.service
        : colours.muted;
  context.globalAlpha = touched || walked ? 1 : active ? 0.75 : 0.28;
  const rate = segment.openedPerSecond + segment.bytesPerSecond / BYTES_OF_A_CONNECTION;
  context.lineWidth = (touched ? 1.5 : 1) + Math.min(5, Math.log2(1 + rate));
  context.stroke();
  context.globalAlpha = 1;
}

/** Texts that fit, by text and width: measuring takes longer than drawing. */
const fits = new Map<string, string>();
const MAX_FITS = 5000;

/** The text, shortened in its middle: the names of pods of one workload differ at their end. */
function fitted(context: CanvasRenderingContext2D, font: string, text: string, width: number): string {
  // Setting and reading a font takes time: all texts of a kind have the same.
  const key = `${width} ${font} ${text}`;
  let found = fits.get(key);
  if (found !== undefined) return found;
  found = text;
  for (let left = text.length - 1; left > 2 && context.measureText(found).width > width; left--) {
    const end = Math.floor(left / 2);
    found = `${text.slice(0, left - end)}…${text.slice(text.length - end)}`;
  }
  if (fits.size >= MAX_FITS) fits.clear();
  fits.set(key, found);
  return found;
}
