/** The packets that did not arrive, as events of the nodes. */
import { NodePorts } from '../../observe/capture/ports.ts';
import { type NodeDrop, NodeDrops } from '../../observe/drops/reader.ts';
import type { DropEvent as DroppedPacketEvent } from '../../observe/flows/drops.ts';
import { type EventSource, type OnMissed, wholeTime } from './follow-events.ts';

export interface DropEvent extends DroppedPacketEvent {
  readonly atMs: number;
}

/** How often new memory of the node is looked for, in milliseconds. */
const RENEW_MS = 1000;
const END_OF_MS = 0.999;

/** The drops of these nodes. */
export function dropEvents(nodes: readonly string[]): EventSource<DropEvent>[] {
  return nodes.map((node) => new DropSource(node));
}

class DropSource implements EventSource<DropEvent> {
  private readonly node: string;
  private readonly drops: NodeDrops;
  private readonly ports: NodePorts | undefined;
  private renewedMs = Number.NEGATIVE_INFINITY;

  constructor(node: string) {
    this.node = node;
    this.drops = new NodeDrops(node);
    this.ports = portsOf(node);
  }

  renew(nowMs: number): boolean {
    if (nowMs - this.renewedMs < RENEW_MS) return true;
    this.renewedMs = nowMs;
    return this.drops.reopen();
  }

  read(nowMs: number, onEvent: (event: DropEvent) => void, onMissed: OnMissed): void {
    const lost = this.drops.read((drop) => onEvent(this.event(drop, nowMs)));
    if (lost > 0) onMissed(this.node, lost);
  }

  past(nowMs: number): DropEvent[] {
    return this.drops.past().map((drop) => this.event(drop, nowMs));
  }

  private event({ drop, rule }: NodeDrop, nowMs: number): DropEvent {
    // Known to the millisecond. A packet is dropped after those that it follows: its place is at the end of it.
    const atMs = wholeTime(drop.timeMs, nowMs) + END_OF_MS;
    const sender = this.ports?.addressAt(drop.inPort);
    return { node: this.node, kind: 'DROP', drop, ...(rule && { rule }), ...(sender && { sender }), atMs };
  }

  close(): void {
    this.drops.close();
    this.ports?.close();
  }
}

/** Undefined if the node is gone, or runs another version. */
function portsOf(node: string): NodePorts | undefined {
  try {
    return new NodePorts(node);
  } catch {
    return undefined;
  }
}
