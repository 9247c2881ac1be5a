/** Frames that a worker traces while it processes them: which, what is recorded, and that nothing else changes. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compileFilter } from '../../../native-free-dataplane/filter/compile.ts';
import {
  ANY_PORT,
  captureBytes,
  claimSession,
  createCaptureMemory,
  Point,
  startSession,
} from '../../../native-free-dataplane/live-capture/memory.ts';
import { RecordWord, RingReader } from '../../../native-free-dataplane/live-capture/ring.ts';
import * as pipeline from '../../../native-free-dataplane/pipeline.ts';
import { Verdict } from '../../../native-free-dataplane/verdicts.ts';
import { nameSteps } from '../../../src/observe/trace/marked-names.ts';
import { Names, NO_OBJECTS } from '../../../src/observe/trace/names.ts';
import type { Step } from '../../../src/observe/trace/step.ts';
import { WorkerCapture } from '../../../src/worker/capture.ts';
import { LiveTrace } from '../../../src/worker/live-trace.ts';
import { frame } from '../../lib/frames/frame-text.ts';
import { loadFrame } from '../../lib/frames/load-frame.ts';
import { A, B, HOST_MACS, natNode } from '../../lib/nat-node.ts';
import type { TestNode } from '../../lib/test-node.ts';
import { processTraced } from '../../lib/traced-build.ts';
import { podObject, serviceObject } from '../../lib/traced-walk.ts';

const test = suite('live trace');
const SERVICE = '10.96.0.10';
const SYN = `tcp ${A}:4000 > ${SERVICE}:80 S`;
const RING = { workers: 1, ports: 64, ringBytes: 1 << 21 };

function tracingNode(filter: string, liveTrace = new LiveTrace(processTraced)) {
  const memory = createCaptureMemory(new ArrayBuffer(captureBytes(RING)), RING);
  const node: TestNode = natNode().service(`tcp ${SERVICE}:80`, { endpoints: [`${B}:8080`] });
  const capture = new WorkerCapture(memory, 0, pipeline, liveTrace);
  const claim = claimSession(memory, 0)!;
  const points = Point.RECEIVED | Point.STEPS;
  startSession(memory, claim, {
    points,
    port: ANY_PORT,
    snapBytes: 65_536,
    program: compileFilter(filter, { inside: true }),
  });
  assert.ok(capture.reload(node.dataplane) === capture);
  const ring = new RingReader(memory, claim.session, 0);
  return {
    node,
    ring,
    receive(text: string, nowMs = node.nowMs): Verdict {
      loadFrame(node.pkt, frame(text, { dstMac: HOST_MACS.dstMac }), node.portOf('a'));
      return capture.processFrame(node.pkt, node.dataplane, nowMs);
    },
    /** The steps that were recorded since the last call, of each packet. */
    steps(): Step[][] {
      const found: Step[][] = [];
      for (; ring.next(); ring.release()) {
        if (ring.word(RecordWord.POINT) !== Point.STEPS) continue;
        found.push(JSON.parse(Buffer.from(ring.frame()).toString()) as Step[]);
      }
      return found;
    },
  };
}

const NAMES = new Names({
  ...NO_OBJECTS,
  pods: [podObject('client', A), podObject('web', B)],
  services: [serviceObject('web', SERVICE, 80, 'web')],
});

test('the first packet of a connection has the steps of a first packet, with names from whoever reads them', () => {
  const { receive, steps, node } = tracingNode('host 10.96.0.10');
  assert.is(receive(SYN), Verdict.SENT);
  assert.equal(node.sent('b'), [`tcp ${A}:4000 > ${B}:8080 S`], 'it is sent as ever');
  const [first] = steps();
  const named = nameSteps(first!, NAMES);
  const row = (stage: string) => named.find((step) => step.stage === stage)?.row;
  assert.equal(row('service')?.text, [
    `Service default/web, ${SERVICE}:80/TCP`,
    `endpoint ${B}:8080 (pod default/web), the only endpoint`,
  ]);
  assert.is(row('service')?.service, 'default/web');
  assert.match(row('connect')?.text[0] ?? '', /^new record /);
  for (const { source } of named) assert.match(source, /^native-free-dataplane\/.*\.ts:\d+$/);
  assert.not(JSON.stringify(named).includes('\\u0002'), 'a mark is left');
});

test('frames that do not match are not traced', () => {
  let asked = 0;
  const counting: typeof processTraced = (pkt, dp, nowMs, tracer) => {
    asked++;
    return processTraced(pkt, dp, nowMs, tracer);
  };
  const { receive, steps } = tracingNode('port 81', new LiveTrace(counting));
  receive(SYN);
  assert.is(asked, 0);
  receive(`tcp ${A}:4000 > ${B}:81 S`);
  assert.is(asked, 1);
  assert.is(steps().length, 1);
});

test('beyond 200 a second packets are forwarded untraced, and counted', () => {
  const { receive, steps, node, ring } = tracingNode('tcp');
  for (let port = 1; port <= 300; port++) assert.is(receive(`tcp ${A}:${port} > ${B}:80 S`), Verdict.SENT);
  assert.is(node.sent('b').length, 300);
  assert.is(steps().length, 200);
  assert.is(ring.lostAt(node.portOf('a')), 100);
  receive(`tcp ${A}:301 > ${B}:80 S`, node.nowMs + 1000);
  assert.is(steps().length, 1);
});

test('a step that cannot be described does not disturb the packet', () => {
  const failing: typeof processTraced = (pkt, dp, nowMs, tracer) => {
    // Reports about a call that never began, with arguments of no stage.
    tracer.enter('native-free-dataplane/stages/ttl-mtu.ts', 'mayLeave', true, [undefined, undefined, Number.NaN]);
    tracer.leave(1, 0);
    return processTraced(pkt, dp, nowMs, tracer);
  };
  const { receive, steps, node } = tracingNode('tcp', new LiveTrace(failing));
  node.pkt.l3 = -1;
  assert.is(receive(SYN), Verdict.SENT);
  assert.is(steps().length, 1);
});

test.run();
