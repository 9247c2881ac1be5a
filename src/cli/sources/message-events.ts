/**
 * Messages of applications as events of the nodes: workers capture their packets while there is a reader, as for
 * `dataplane capture`, and this process reads the messages in them.
 */
import { compileFilter } from '../../../native-free-dataplane/filter/compile.ts';
import { ANY_PORT, type CaptureSettings, Point } from '../../../native-free-dataplane/live-capture/memory.ts';
import { listShared } from '../../linux/shm-files.ts';
import { NodeCapture } from '../../observe/capture/node-capture.ts';
import type { CapturedPacket } from '../../observe/capture/packet.ts';
import { NodePorts } from '../../observe/capture/ports.ts';
import type { MessageEvent as SeenMessageEvent } from '../../observe/flows/layer7.ts';
import { MESSAGE_SNAP_BYTES, messageFilter, readMessages } from '../../observe/layer7/messages.ts';
import { nodesWith, SHM_PREFIX } from '../../shm-names.ts';
import type { EventSource, OnMissed } from './follow-events.ts';

export interface MessageEvent extends SeenMessageEvent {
  readonly atMs: number;
}

export interface MessageOptions {
  /** Also HTTP. */
  readonly http: boolean;
  readonly note: (text: string) => void;
}

/** How often the lease of a capture is renewed, or another one is begun, in milliseconds. */
const RENEW_MS = 500;

/** The messages of these nodes, from now on. */
export function messageEvents(nodes: readonly string[], options: MessageOptions): EventSource<MessageEvent>[] {
  return nodes.map((node) => new MessageSource(node, options));
}

class MessageSource implements EventSource<MessageEvent> {
  private readonly node: string;
  private readonly options: MessageOptions;
  /** Undefined: it could not be begun, or its node's memory is gone. */
  private capture: NodeCapture | undefined;
  private renewedMs = Number.NEGATIVE_INFINITY;
  private reported = false;

  constructor(node: string, options: MessageOptions) {
    this.node = node;
    this.options = options;
  }

  renew(nowMs: number): boolean {
    if (nowMs - this.renewedMs < RENEW_MS) return true;
    this.renewedMs = nowMs;
    if (this.capture !== undefined && this.capture.renew(nowMs) !== undefined) this.close();
    if (!nodesWith('capture', listShared(SHM_PREFIX)).includes(this.node)) {
      this.close();
      return false;
    }
    if (this.capture === undefined) this.begin(nowMs);
    return true;
  }

  private begin(nowMs: number): void {
    const { node, options } = this;
    try {
      const ports = new NodePorts(node);
      const { vxlanPort } = ports;
      ports.close();
      const settings: CaptureSettings = {
        points: Point.RECEIVED | Point.SENT,
        snapBytes: MESSAGE_SNAP_BYTES,
        port: ANY_PORT,
        program: compileFilter(messageFilter(options.http), { vxlanPort, inside: true }),
      };
      this.capture = new NodeCapture(node, settings, nowMs);
    } catch (error) {
      if (!this.reported) options.note(`messages of node ${node} cannot be read: ${(error as Error).message}`);
      this.reported = true;
    }
  }

  read(nowMs: number, onEvent: (event: MessageEvent) => void, onMissed: OnMissed): void {
    const { node, capture } = this;
    if (capture === undefined) return;
    const packets: CapturedPacket[] = [];
    capture.read(packets);
    if (packets.length === 0) return;
    // What was captured has the time of day; events of connections are ordered by the monotonic clock.
    const bootMs = Date.now() - nowMs;
    for (const seen of readMessages(packets)) {
      onEvent({ node, kind: 'MESSAGE', seen, atMs: Math.min(nowMs, Math.floor(seen.timeMs - bootMs)) });
    }
    const lost = packets.reduce((sum, { lostBefore }) => sum + lostBefore, 0);
    if (lost > 0) onMissed(node, lost);
  }

  /** Nodes do not keep messages. */
  past(): MessageEvent[] {
    return [];
  }

  close(): void {
    this.capture?.end();
    this.capture?.close();
    this.capture = undefined;
  }
}
