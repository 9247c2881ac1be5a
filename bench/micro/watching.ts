/**
 * What watching costs a worker, for each packet of an established connection: nothing while nobody watches, where the
 * forwarder compares one word a turn and runs the same pipeline as ever; and with a capture, a live trace or `observe`,
 * whose filter matches or does not. The modes take turns on one node, and the lowest percentiles are compared.
 *
 * Tracing has no row of its own: the pipeline that workers run has no code for it (scripts/traced-pipeline.mjs).
 */
import { compileFilter } from '../../native-free-dataplane/filter/compile.ts';
import {
  ANY_PORT,
  captureBytes,
  claimSession,
  createCaptureMemory,
  endSession,
  Point,
  startSession,
} from '../../native-free-dataplane/live-capture/memory.ts';
import { RingReader } from '../../native-free-dataplane/live-capture/ring.ts';
import { Verdict } from '../../native-free-dataplane/verdicts.ts';
import { MESSAGE_SNAP_BYTES, messageFilter } from '../../src/observe/layer7/messages.ts';
import { WorkerCapture } from '../../src/worker/capture.ts';
import { quantile } from '../lib/statistics.ts';
import { workersPipeline } from './lib/bundles.ts';
import type { Fact } from './lib/results.ts';
import { SCENARIOS, udpConversation } from './lib/scenarios.ts';

/** From a pod to a ClusterIP, whose endpoint is on the same node. */
const SCENARIO = SCENARIOS[2]!;
const FLOWS = 1000;
const BATCH = 1024;
const ROUNDS = 400;
const WARM_UP = 100;
/** Other load can only add to a time. */
const SHARE = 0.05;
const RING_BYTES = 1 << 22;

interface Mode {
  readonly name: string;
  /** Undefined: nobody watches. */
  readonly watched: { readonly filter: string; readonly snapBytes: number; readonly points: number } | undefined;
  readonly atMost?: number;
  readonly times: number[];
}

const BOTH = Point.RECEIVED | Point.SENT;
const MODES: readonly Mode[] = [
  { name: 'the pipeline alone', watched: undefined, times: [] },
  { name: 'nobody watches', watched: undefined, atMost: 1.01, times: [] },
  {
    name: 'a filter that does not match',
    watched: { filter: 'tcp port 443', snapBytes: 128, points: BOTH },
    times: [],
  },
  {
    name: 'observe: queries and answers of name servers',
    watched: { filter: messageFilter(false), snapBytes: MESSAGE_SNAP_BYTES, points: BOTH },
    times: [],
  },
  {
    name: 'observe --http',
    watched: { filter: messageFilter(true), snapBytes: MESSAGE_SNAP_BYTES, points: BOTH },
    times: [],
  },
  {
    name: 'every frame, 128 bytes, received and sent',
    watched: { filter: '', snapBytes: 128, points: BOTH },
    times: [],
  },
];

export function measure(): Fact[] {
  const options = { workers: 1, ports: 4096, ringBytes: RING_BYTES };
  const memory = createCaptureMemory(new ArrayBuffer(captureBytes(options)), options);
  const pipeline = workersPipeline();
  const capture = new WorkerCapture(memory, 0, pipeline);
  const { node, requests } = udpConversation(SCENARIO, FLOWS);
  const { sink } = node;
  const plain = sink.emit.bind(sink);
  const watched: typeof sink.emit = (pkt) => {
    const wanted = capture.sending(pkt);
    plain(pkt);
    if (wanted) capture.sent(pkt, Verdict.GO_ON);
  };
  const frames = node.frames(requests);
  const run = (): void => {
    for (let i = 0; i < BATCH; i++) {
      frames.load();
      node.process();
    }
  };
  const alone = (): void => {
    for (let i = 0; i < BATCH; i++) frames.load();
  };
  for (let round = 0; round < WARM_UP + ROUNDS; round++) {
    for (let i = 0; i < MODES.length; i++) {
      const mode = MODES[(i + round) % MODES.length]!;
      const settings = mode.watched && {
        ...mode.watched,
        port: ANY_PORT,
        program: compileFilter(mode.watched.filter, { inside: true }),
      };
      const claim = settings && claimSession(memory, node.nowMs)!;
      if (claim !== undefined) startSession(memory, claim, settings!);
      // As in the forwarder's turn.
      if (mode !== MODES[0] && capture.isChanged) node.pipeline = capture.reload(node.dp) as typeof pipeline;
      else if (mode === MODES[0]) node.pipeline = pipeline;
      sink.emit = claim === undefined ? plain : watched;
      const begin = performance.now();
      run();
      const processed = performance.now();
      alone();
      const put = performance.now();
      if (round >= WARM_UP) mode.times.push(((processed - begin - (put - processed)) * 1e6) / BATCH);
      if (claim === undefined) continue;
      const ring = new RingReader(memory, claim.session, 0);
      while (ring.next()) ring.release();
      endSession(memory, claim);
      capture.reload(node.dp);
      node.pipeline = pipeline;
    }
  }
  const best = ({ times }: Mode): number => quantile(times, SHARE);
  return [
    ...MODES.map((mode) => ({ name: mode.name, value: best(mode), unit: 'ns' })),
    ...MODES.slice(1).map((mode) => ({
      name: `${mode.name}, to the pipeline alone`,
      value: best(mode) / best(MODES[0]!),
      unit: 'times',
      ...(mode.atMost !== undefined && { atMost: mode.atMost }),
    })),
  ];
}
