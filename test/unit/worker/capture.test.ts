/** What a worker captures, around the real pipeline of a node in memory. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Emitter } from '../../../native-free-dataplane/dataplane.ts';
import { compileFilter } from '../../../native-free-dataplane/filter/compile.ts';
import {
  ANY_PORT,
  captureBytes,
  claimSession,
  createCaptureMemory,
  endSession,
  LEASE_MS,
  Point,
  startSession,
} from '../../../native-free-dataplane/live-capture/memory.ts';
import { RecordWord, RingReader } from '../../../native-free-dataplane/live-capture/ring.ts';
import type { Packet } from '../../../native-free-dataplane/packet.ts';
import * as pipeline from '../../../native-free-dataplane/pipeline.ts';
import { ruleText } from '../../../native-free-dataplane/policies/judge.ts';
import { readRule } from '../../../native-free-dataplane/policies/rules.ts';
import { writePolicies } from '../../../native-free-dataplane/policies/writer.ts';
import { printBytes } from '../../../native-free-dataplane/print/frame.ts';
import { Verdict, verdictName } from '../../../native-free-dataplane/verdicts.ts';
import type { NetworkPolicy } from '../../../src/api/types/network-policy.ts';
import { compilePolicies } from '../../../src/compile/policies/compile-policies.ts';
import { parsePolicy } from '../../../src/compile/policies/parse-policy.ts';
import { WorkerCapture } from '../../../src/worker/capture.ts';
import { frame } from '../../lib/frames/frame-text.ts';
import { loadFrame } from '../../lib/frames/load-frame.ts';
import { TestNode } from '../../lib/test-node.ts';

const CLIENT = '10.244.1.2';
const SYN = `tcp ${CLIENT}:4000 > 10.96.0.10:80 S`;

/** A node with a pod and a Service whose endpoint is on another node, and a worker that captures. */
class Capturing {
  readonly memory = createCaptureMemory(new ArrayBuffer(captureBytes({ workers: 1, ports: 64, ringBytes: 1 << 16 })), {
    workers: 1,
    ports: 64,
    ringBytes: 1 << 16,
  });
  readonly capture = new WorkerCapture(this.memory, 0, pipeline);
  /** Why devices do not accept frames. */
  refusal: Verdict = Verdict.GO_ON;
  readonly node: TestNode;
  readonly port: number;

  constructor() {
    const emitter: Emitter = {
      emit: (pkt: Packet) => {
        this.capture.sending(pkt);
        this.capture.sent(pkt, this.refusal);
      },
    };
    this.node = new TestNode({ emitter });
    this.node
      .pod('client', CLIENT)
      .peer(2)
      .service('tcp 10.96.0.10:80', { endpoints: ['10.244.2.5:8080'] });
    this.port = this.node.portOf('client');
  }

  start(filter: string, options: { points?: number; port?: number; snapBytes?: number } = {}) {
    const { points = Point.RECEIVED | Point.SENT, port = ANY_PORT, snapBytes = 65_536 } = options;
    const claim = claimSession(this.memory, 0)!;
    const program = compileFilter(filter, { inside: true });
    startSession(this.memory, claim, { points, port, snapBytes, program });
    return { claim, ring: new RingReader(this.memory, claim.session, 0) };
  }

  receive(line: string): Verdict {
    if (this.capture.isChanged) assert.ok(this.capture.reload(this.node.dataplane) === this.capture);
    loadFrame(this.node.pkt, frame(line), this.port);
    return this.capture.processFrame(this.node.pkt, this.node.dataplane, 0);
  }
}

function read(ring: RingReader): string[] {
  const lines: string[] = [];
  while (ring.next()) {
    const point = ring.word(RecordWord.POINT);
    const name = point === Point.SENT ? 'sent' : point === Point.RECEIVED ? 'received' : 'unwanted';
    const verdict = verdictName(ring.word(RecordWord.VERDICT));
    const text = printBytes(ring.frame(), true);
    lines.push(`${ring.word(RecordWord.PACKET)} ${name} port ${ring.word(RecordWord.PORT)} ${text} ${verdict}`);
    ring.release();
  }
  return lines;
}

const OVERLAY = `vxlan 172.18.0.11 > 172.18.0.12 vni 1 (tcp ${CLIENT}:4000 > 10.244.2.5:8080 S)`;

test('one number and one verdict for a packet as received, and as sent: translated and encapsulated', () => {
  const node = new Capturing();
  const { ring } = node.start('host 10.96.0.10');
  node.receive(SYN);
  assert.equal(read(ring), [
    `1 received port ${node.port} ${SYN} encapsulated`,
    `1 sent port 0 ${OVERLAY} encapsulated`,
  ]);
});

test('a frame that matches only as sent is captured there, also by what is inside the overlay', () => {
  const node = new Capturing();
  const { ring } = node.start('dst port 8080');
  node.receive(SYN);
  assert.equal(read(ring), [`1 sent port 0 ${OVERLAY} encapsulated`]);
});

test('points, port and filter select', () => {
  const node = new Capturing();
  const received = node.start('tcp', { points: Point.RECEIVED });
  const sent = node.start('tcp', { points: Point.SENT });
  const port = node.start('tcp', { port: node.port });
  const other = node.start('udp port 9');
  node.receive(SYN);
  assert.equal(read(received.ring), [`1 received port ${node.port} ${SYN} encapsulated`]);
  assert.equal(read(sent.ring), [`1 sent port 0 ${OVERLAY} encapsulated`]);
  assert.equal(read(port.ring), [`1 received port ${node.port} ${SYN} encapsulated`]);
  assert.equal(read(other.ring), []);
});

test('dropped: only packets that do not reach their destination, as received', () => {
  const node = new Capturing();
  const { ring } = node.start('', { points: Point.DROPPED });
  assert.is(node.receive(SYN), Verdict.ENCAPSULATED);
  const spoofed = 'tcp 10.244.1.9:4000 > 10.96.0.10:80 S';
  node.receive(spoofed);
  assert.equal(read(ring), [`2 received port ${node.port} ${spoofed} spoofed-source-mac`]);
});

test('a packet that a policy denies is recorded with the rule that denied it', () => {
  const node = new Capturing();
  const policy = { metadata: { name: 'closed', namespace: 'default' }, spec: { policyTypes: ['Egress'] } };
  writePolicies(
    node.node.policies,
    compilePolicies({
      policies: [parsePolicy(policy as NetworkPolicy)],
      pods: [{ namespace: 'default', labels: {}, ip: CLIENT, ports: [] }],
      namespaces: new Map([['default', {}]]),
      ...{ nodes: [], dnsPort: undefined },
    }),
  );
  const { ring } = node.start('', { points: Point.DROPPED });
  assert.is(node.receive(SYN), Verdict.POLICY_EGRESS);
  assert.ok(ring.next());
  assert.is(ring.word(RecordWord.VERDICT), Verdict.POLICY_EGRESS);
  const rule = readRule(node.node.policies, ring.word(RecordWord.RULE));
  assert.is(rule && ruleText(rule), 'default/closed (no rule allows it)');
  ring.release();
  // The next record of the same memory has no rule.
  node.receive('tcp 10.244.1.9:4000 > 10.96.0.10:80 S');
  assert.ok(ring.next());
  assert.is(ring.word(RecordWord.RULE), 0);
});

test('dropped: a frame that a device did not accept, without the frame as received', () => {
  const node = new Capturing();
  const { ring } = node.start('', { points: Point.DROPPED });
  node.refusal = Verdict.WRITE_QUEUE_FULL;
  node.receive(SYN);
  assert.equal(
    read(ring).filter((line) => !line.includes(' unwanted ')),
    [`1 sent port 0 ${OVERLAY} write-queue-full`],
  );
});

test('frames are cut to the snap length; their own length is kept', () => {
  const node = new Capturing();
  const { ring } = node.start('greater 1000', { snapBytes: 40, points: Point.RECEIVED });
  node.receive(`${SYN} len 1200`);
  assert.ok(ring.next());
  assert.is(ring.frame().length, 40);
  assert.is(ring.word(RecordWord.ORIGINAL), 14 + 20 + 20 + 1200);
});

test('without a session the pipeline runs by itself, and a session that ends or expires is left', () => {
  const node = new Capturing();
  assert.not.ok(node.capture.isChanged);
  const { claim } = node.start('');
  assert.ok(node.capture.isChanged);
  assert.ok(node.capture.reload(node.node.dataplane) === node.capture);
  assert.not.ok(node.capture.isChanged);
  endSession(node.memory, claim);
  assert.ok(node.capture.isChanged);
  assert.ok(node.capture.reload(node.node.dataplane) === pipeline);
  node.start('');
  node.capture.reload(node.node.dataplane);
  assert.ok(node.capture.tick(node.node.dataplane, LEASE_MS + 10) <= 500);
  assert.ok(node.capture.reload(node.node.dataplane) === pipeline);
});

test('a session with a program that might not end is ignored', () => {
  const node = new Capturing();
  const claim = claimSession(node.memory, 0)!;
  const program = compileFilter('tcp').fill(0, 4, 6);
  startSession(node.memory, claim, { points: Point.RECEIVED, port: ANY_PORT, snapBytes: 100, program });
  assert.ok(node.capture.reload(node.node.dataplane) === pipeline);
});

test.run();
