/** Sends the pipeline's frames to this worker's ports, and counts those that a device did not accept. */
import type { Dataplane, Emitter } from '../../native-free-dataplane/dataplane.ts';
import type { Packet } from '../../native-free-dataplane/packet.ts';
import { countVerdict } from '../../native-free-dataplane/shared/counters.ts';
import { noteLostFrame } from '../../native-free-dataplane/stages/note-drop.ts';
import { Verdict } from '../../native-free-dataplane/verdicts.ts';
import { type Port, Write } from '../devices/port.ts';
import type { WorkerCapture } from './capture.ts';

export class PortEmitter implements Emitter {
  /** By number; filled up to the last one, because V8 makes a dictionary of an array with large gaps. */
  readonly ports: (Port | undefined)[] = [];
  dataplane: Dataplane | undefined;
  /** Frames that the pipeline has sent; wraps. */
  sent = 0;
  /** Present while frames are being captured. */
  capture: WorkerCapture | undefined;

  emit(pkt: Packet): void {
    this.sent = (this.sent + 1) | 0;
    const { capture } = this;
    const wanted = capture?.sending(pkt) === true;
    const port = this.ports[pkt.outPort];
    const result = port === undefined ? Write.DOWN : port.write(pkt);
    const lost = result === Write.SENT ? Verdict.GO_ON : verdictOf(result);
    if (capture !== undefined && (wanted || lost !== Verdict.GO_ON)) capture.sent(pkt, lost);
    if (lost === Verdict.GO_ON || this.dataplane === undefined) return;
    noteLostFrame(pkt, this.dataplane, lost);
    countVerdict(this.dataplane.counters, lost);
  }
}

/** The verdict to count for a frame that the device did not accept. */
function verdictOf(result: number): Verdict {
  if (result === Write.FULL) return Verdict.WRITE_QUEUE_FULL;
  return result === Write.DOWN ? Verdict.DEVICE_CLOSED : Verdict.WRITE_FAILED;
}
