/**
 * The frames of a recording, packet by packet: what a node received, with all that its pipeline was given, and what it
 * sent. A file of `dataplane snapshot --capture` has it in comments of its frames (`Replay: {…}`). Of any other capture the
 * frames are taken as received at the pod that has their source address, or else at dp0, at the times of the file.
 */
import { type CapturedFrame, Direction } from '../../../native-free-dataplane/capture/frame.ts';
import { CaptureReader } from '../../../native-free-dataplane/capture/reader.ts';
import { verdictName } from '../../../native-free-dataplane/verdicts.ts';
import type { CapturedPacket, Offload, ReplayInput, WorkerState } from '../capture/packet.ts';

/** A frame that was sent, its port, and what the device has to do to it. */
export interface RecordedFrame {
  readonly port: number;
  readonly bytes: Uint8Array;
  readonly checksumPending: boolean;
  /** Bytes of payload per segment of a super-packet; 0: an ordinary packet. */
  readonly segmentBytes: number;
}

export interface RecordedPacket {
  /** Node that received it; undefined: not recorded. */
  readonly node: string | undefined;
  readonly worker: number;
  /** Undefined: to be found by its source address. */
  readonly port: number | undefined;
  readonly frame: Uint8Array;
  /** Low 32 bits of the monotonic milliseconds; undefined: `timeMs` counts. */
  readonly nowMs: number | undefined;
  /** Time since 1970 in milliseconds. */
  readonly timeMs: number;
  readonly ticks: readonly number[];
  readonly state: WorkerState | undefined;
  readonly offload: Offload | undefined;
  /** What the node did; undefined: not recorded. */
  readonly verdict: string | undefined;
  readonly sent: RecordedFrame[] | undefined;
}

export interface Recording {
  readonly packets: readonly RecordedPacket[];
  /** Frames that were lost while they were recorded. */
  readonly lost: number;
  /** Frames that cannot be replayed: truncated by the capture. */
  readonly truncated: number;
  /** What is wrong with the file; '' if nothing is. */
  readonly damage: string;
}

const PREFIX = 'Replay: ';

interface Note extends Partial<ReplayInput> {
  readonly port: number;
  readonly checksumPending: boolean;
  readonly segmentBytes: number;
}

/** The comments of a frame in a recording. */
export function replayComments({ port, checksumPending, segmentBytes, replay }: CapturedPacket): string[] {
  return [`${PREFIX}${JSON.stringify({ port, checksumPending, segmentBytes, ...replay } satisfies Note)}`];
}

/** Collects the packets of a file, which is pushed in pieces. */
export class RecordingReader {
  private readonly reader = new CaptureReader();
  private readonly packets: RecordedPacket[] = [];
  /** By packet id. */
  private readonly received = new Map<number, RecordedPacket>();
  private lost = 0;
  private truncated = 0;

  push(chunk: Uint8Array): void {
    this.reader.push(chunk);
    for (let frame = this.reader.next(); frame !== undefined; frame = this.reader.next()) this.take(frame);
  }

  end(): Recording {
    this.reader.end();
    const { packets, lost, truncated } = this;
    return { packets, lost, truncated, damage: this.reader.damage };
  }

  private take({ bytes, originalBytes, source, options, seconds, nanoseconds }: CapturedFrame): void {
    const { flags = 0, packetId = -1, comments = [], dropCount = 0 } = options;
    this.lost += dropCount;
    const text = comments.find((comment) => comment.startsWith(PREFIX));
    const note = text === undefined ? undefined : (JSON.parse(text.slice(PREFIX.length)) as Note);
    const sent = (flags & 3) === Direction.OUTBOUND;
    if (note !== undefined && sent) {
      const { port, checksumPending, segmentBytes } = note;
      this.received.get(packetId)?.sent?.push({ port, bytes: bytes.slice(), checksumPending, segmentBytes });
      return;
    }
    if (sent) return;
    if (bytes.length < originalBytes) {
      this.truncated++;
      return;
    }
    const verdict = options.verdicts?.[0]?.bytes[0];
    const packet: RecordedPacket = {
      node: note === undefined ? undefined : source.name.split('/', 1)[0],
      worker: options.queue ?? 0,
      port: note?.port,
      frame: bytes.slice(),
      nowMs: note?.nowMs,
      timeMs: seconds * 1000 + nanoseconds / 1e6,
      ticks: note?.ticks ?? [],
      state: note?.state,
      offload: note?.offload,
      verdict: note === undefined || verdict === undefined ? undefined : verdictName(verdict),
      sent: note === undefined ? undefined : [],
    };
    this.packets.push(packet);
    if (note !== undefined) this.received.set(packetId, packet);
  }
}
