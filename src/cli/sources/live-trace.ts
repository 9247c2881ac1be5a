/** `dataplane trace --live`: packets traced by the workers that forward them, as they happen. */
import { MAX_CAPTURED_BYTES } from '../../../native-free-dataplane/capture/frame.ts';
import { Point } from '../../../native-free-dataplane/live-capture/memory.ts';
import { printBytes } from '../../../native-free-dataplane/print/frame.ts';
import { processTraced } from '../../../native-free-dataplane/trace/traced.ts';
import { isFailure, VERDICTS, verdictName } from '../../../native-free-dataplane/verdicts.ts';
import { monotonicMs } from '../../linux/clock.ts';
import type { CapturedPacket } from '../../observe/capture/packet.ts';
import { nameSteps } from '../../observe/trace/marked-names.ts';
import type { Names } from '../../observe/trace/names.ts';
import type { NodeCopy } from '../../observe/trace/node-copy.ts';
import type { NodeTrace, Step } from '../../observe/trace/step.ts';
import { Capture, readNames } from './capture.ts';
import { copyNodes } from './trace.ts';

/** How long copies of the tables serve to explain failures, in milliseconds. */
const COPIES_MS = 1000;

export interface LiveRequest {
  readonly filter: string;
  /** Only this node, and only the port of this pod. */
  readonly node: string | undefined;
  readonly pod: string | undefined;
  /** Traces after which to end. */
  readonly count: number;
}

export interface LiveTraces {
  /** @param seconds time since 1970 */
  trace(trace: NodeTrace, seconds: number): void;
  started(places: readonly string[]): void;
  note(text: string): void;
}

/** @returns packets that matched and were not traced, because there were too many of them */
export async function traceLive(request: LiveRequest, sink: LiveTraces, ended: AbortController): Promise<number> {
  const { count, ...where } = request;
  const points = Point.RECEIVED | Point.STEPS;
  const capture = new Capture({ ...where, points, snapBytes: MAX_CAPTURED_BYTES }, await readNames());
  const failures = new Failures();
  let traced = 0;
  let untraced = 0;
  try {
    sink.started(capture.places);
    const result = await capture.run(
      {
        note: sink.note,
        packets: (packets, _, names) => {
          for (const packet of packets) {
            if (ended.signal.aborted) return;
            if (packet.steps === undefined) untraced++;
            else {
              traced++;
              sink.trace(traceOf(packet, packet.steps, names, failures), packet.seconds + packet.nanoseconds / 1e9);
              if (traced >= count) ended.abort();
            }
          }
        },
      },
      ended,
      Number.POSITIVE_INFINITY,
    );
    return Math.max(untraced, result.lost);
  } finally {
    capture.close();
  }
}

function traceOf(packet: CapturedPacket, marked: readonly Step[], names: Names, failures: Failures): NodeTrace {
  const steps = nameSteps(marked, names);
  const reply = steps.some(({ row }) => row?.direction === 'reply');
  return {
    node: packet.node,
    direction: reply ? 'reply' : 'original',
    packet: printBytes(packet.bytes, true),
    steps,
    verdict: verdictName(packet.verdict),
    wouldDiffer: failures.differences(packet, names),
  };
}

/**
 * What would have to differ for packets that did not arrive. A packet that is dropped changes no table, so the tables a
 * moment later still have the reason.
 */
class Failures {
  private copies: readonly NodeCopy[] = [];
  private copiedMs = Number.NEGATIVE_INFINITY;

  differences(packet: CapturedPacket, names: Names): readonly string[] {
    const row = VERDICTS[packet.verdict];
    if (row === undefined || !isFailure(row) || packet.bytes.length < packet.originalBytes) return [];
    const nowMs = monotonicMs();
    if (nowMs - this.copiedMs > COPIES_MS) {
      this.copies = copyNodes().nodes;
      this.copiedMs = nowMs;
    }
    const node = this.copies.find(({ name }) => name === packet.node);
    const nodesWithEndpoint = (): readonly string[] => [];
    const again = node?.receive(packet.bytes, packet.port, { process: processTraced, nowMs, names, nodesWithEndpoint });
    return again?.verdict === row.name ? again.wouldDiffer : [row.advice];
  }
}
