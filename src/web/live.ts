/** The stream of updates from the server, as signals. It is opened again when it breaks, and when the filter changes. */
import { signal } from '@preact/signals';
import type { EdgeView, FlowRow, NodeLoadView, Topology, Update } from '../ui/protocol.ts';

/** Rows of the table that are kept. */
const KEPT_ROWS = 500;
const RETRY_MS = 1500;

export const topology = signal<Topology>({ nodes: [], pods: [], services: [], policies: [] });
export const loads = signal<readonly NodeLoadView[]>([]);
export const edges = signal<readonly EdgeView[]>([]);
export const rows = signal<readonly FlowRow[]>([]);
export const skipped = signal(0);
export const lost = signal(0);
export const notice = signal('');
export const state = signal<'connecting' | 'live' | 'disconnected'>('connecting');
export const filterError = signal('');
export const filter = signal('');
/** While paused, rows stay and new ones are counted. */
export const paused = signal(false);
export const held = signal<readonly FlowRow[]>([]);

let reading: AbortController | undefined;

/** Opens the stream with another filter. */
export function follow(text: string): void {
  filter.value = text;
  reading?.abort();
  const mine = new AbortController();
  reading = mine;
  rows.value = [];
  held.value = [];
  skipped.value = 0;
  void run(text, mine.signal);
}

async function run(text: string, ended: AbortSignal): Promise<void> {
  while (!ended.aborted) {
    try {
      const response = await fetch(`/api/stream?filter=${encodeURIComponent(text)}`, { signal: ended });
      if (response.status === 400) {
        filterError.value = await response.text();
        return;
      }
      if (!response.ok || response.body === null) throw new Error(await response.text());
      filterError.value = '';
      state.value = 'live';
      // The server sends the last flows again.
      rows.value = [];
      await read(response.body, ended);
    } catch {
      if (ended.aborted) return;
    }
    state.value = 'disconnected';
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function read(body: ReadableStream<Uint8Array>, ended: AbortSignal): Promise<void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done || ended.aborted) return;
    text += decoder.decode(value, { stream: true });
    const events = text.split('\n\n');
    text = events.pop() ?? '';
    for (const event of events) take(JSON.parse(event.replace(/^data: /, '')) as Update);
  }
}

const byId = new Map<string, EdgeView>();

function take(update: Update): void {
  if (update.topology !== undefined) topology.value = update.topology;
  if (update.loads !== undefined) loads.value = update.loads;
  if (update.edges !== undefined || update.whole) {
    if (update.whole) byId.clear();
    for (const edge of update.edges ?? []) byId.set(edge.id, edge);
    edges.value = [...byId.values()];
  }
  if (update.flows !== undefined) {
    if (paused.value) held.value = [...held.value, ...update.flows].slice(-KEPT_ROWS);
    else rows.value = [...rows.value, ...update.flows].slice(-KEPT_ROWS);
  }
  if (update.skipped !== undefined) skipped.value += update.skipped;
  if (update.lost !== undefined) lost.value = update.lost;
  if (update.notice !== undefined) notice.value = update.notice;
}

export function setPaused(now: boolean): void {
  paused.value = now;
  if (now) return;
  rows.value = [...rows.value, ...held.value].slice(-KEPT_ROWS);
  held.value = [];
}

/** A call of the server. @throws Error with its text */
export async function ask<T>(name: string, request: unknown): Promise<T> {
  const response = await fetch(`/api/${name}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(request),
  });
  if (!response.ok) throw new Error((await response.text()).trim());
  return (await response.json()) as T;
}
