/**
 * What the traced build exports: the pipeline of the same sources, reporting its calls to a tracer. From the plain modules,
 * as in a test that loads this file itself, it is the same pipeline and reports nothing.
 */
import type { Dataplane } from '../dataplane.ts';
import type { Packet } from '../packet.ts';
import { processFrame } from '../pipeline.ts';
import type { Verdict } from '../verdicts.ts';
import { probe, type Tracer } from './probe.ts';

/** processFrame, reporting every call to `tracer`. @returns the verdict, the same that processFrame returns */
export function processTraced(pkt: Packet, dp: Dataplane, nowMs: number, tracer: Tracer): Verdict {
  probe.tracer = tracer;
  try {
    return processFrame(pkt, dp, nowMs);
  } finally {
    probe.tracer = undefined;
  }
}
