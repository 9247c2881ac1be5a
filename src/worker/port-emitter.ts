/** Sends the pipeline's frames to this worker's ports, and counts those that a device did not accept. */
import type { Dataplane, Emitter } from '../../native-free-dataplane/dataplane.ts';
import type { Packet } from '../../native-free-dataplane/packet.ts';
import { countVerdict } from '../../native-free-dataplane/shared/counters.ts';
import { Verdict } from '../../native-free-dataplane/verdicts.ts';
import { type Port, Write } from '../devices/port.ts';

/** The emitter of a worker: writes frames to its ports. */
export class PortEmitter implements Emitter {
  readonly ports: (Port | undefined)[] = [];
  dataplane: Dataplane | undefined;
  /** Frames that the pipeline has sent; wraps. */
  sent = 0;

  emit(pkt: Packet): void {
    this.sent = (this.sent + 1) | 0;
    const port = this.ports[pkt.outPort];
    const result = port === undefined ? Write.DOWN : port.write(pkt);
    if (result === Write.SENT || this.dataplane === undefined) return;
    const { counters } = this.dataplane;
    if (result === Write.FULL) countVerdict(counters, Verdict.WRITE_QUEUE_FULL);
    else if (result === Write.DOWN) countVerdict(counters, Verdict.DEVICE_CLOSED);
    else countVerdict(counters, Verdict.WRITE_FAILED);
  }
}
