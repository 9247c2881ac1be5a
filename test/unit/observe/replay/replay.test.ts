/** A recording of a worker, replayed over the snapshot from its beginning: the same verdicts, the same frames. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Emitter } from '../../../../native-free-dataplane/dataplane.ts';
import { compileFilter } from '../../../../native-free-dataplane/filter/compile.ts';
import {
  ANY_PORT,
  captureBytes,
  createCaptureMemory,
  Point,
} from '../../../../native-free-dataplane/live-capture/memory.ts';
import * as pipeline from '../../../../native-free-dataplane/pipeline.ts';
import * as build from '../../../../native-free-dataplane/public.ts';
import { Verdict } from '../../../../native-free-dataplane/verdicts.ts';
import { openShared } from '../../../../src/linux/shm.ts';
import { unlinkShared } from '../../../../src/linux/shm-files.ts';
import { NodeCapture } from '../../../../src/observe/capture/node-capture.ts';
import { byTime, type CapturedPacket } from '../../../../src/observe/capture/packet.ts';
import { PcapngStream } from '../../../../src/observe/capture/pcapng-stream.ts';
import { replay } from '../../../../src/observe/replay/compare.ts';
import { RecordingReader } from '../../../../src/observe/replay/recording.ts';
import type { PipelineBuild } from '../../../../src/observe/replay/replay.ts';
import { decodeSnapshot, encodeSnapshot, type NodeSnapshot } from '../../../../src/observe/replay/snapshot-file.ts';
import { Names, NO_OBJECTS } from '../../../../src/observe/trace/names.ts';
import { memoryName } from '../../../../src/shm-names.ts';
import { WorkerCapture } from '../../../../src/worker/capture.ts';
import { MAIN } from '../../../lib/cluster.ts';
import { writeCapture } from '../../../lib/frames/capture-file.ts';
import { frame } from '../../../lib/frames/frame-text.ts';
import { loadFrame } from '../../../lib/frames/load-frame.ts';
import { fuzzNode, seedFrames } from '../../../lib/fuzz-node.ts';
import { seededRandom } from '../../../lib/seeded-random.ts';
import { TestNode } from '../../../lib/test-node.ts';

const test = suite('replay');
const NODE = `replay-${process.pid}`;
const RING = { workers: 1, ports: 64, ringBytes: 1 << 25 };

/** The tables now, as a snapshot writes and reads them. */
function snapshotOf(node: TestNode, nowMs: number): NodeSnapshot {
  const tables = Object.fromEntries(
    Object.entries(node.buffers).map(([table, memory]) => {
      const bytes = new Uint8Array((memory as ArrayBuffer).slice(0));
      return [table, { size: bytes.length, extents: [{ at: 0, bytes }] }];
    }),
  ) as unknown as NodeSnapshot['tables'];
  const features = { tunnelOffload: true, udpSegmentation: true };
  const taken = { node: NODE, nowMs, timeMs: Date.now(), features, tables };
  return decodeSnapshot(encodeSnapshot({ version: 'test', nodes: [taken] })).nodes[0]!;
}

/** Frames of every kind, whole and damaged, at a node that has seen others before. @returns snapshot and capture file */
function record(): { snapshot: NodeSnapshot; file: Uint8Array } {
  const shared = openShared(memoryName(NODE, 'capture'), { bytes: captureBytes(RING), create: true });
  const memory = createCaptureMemory(shared.buffer, RING);
  const capture = new WorkerCapture(memory, 0, pipeline);
  const emitter: Emitter = {
    emit: (pkt) => {
      capture.sending(pkt);
      capture.sent(pkt, Verdict.GO_ON);
    },
  };
  const node = fuzzNode(emitter, {});
  const random = seededRandom(5);
  const frames = seedFrames().filter((_, i) => i % 7 === 0);
  let current: typeof pipeline | WorkerCapture = pipeline;
  const play = (): void => {
    for (const { from, bytes, gso } of frames) {
      const damaged = bytes.slice();
      damaged[random.below(damaged.length)]! ^= 1 << random.below(8);
      node.nowMs += random.below(40);
      if (random.below(8) === 0) current.tick(node.dataplane, node.nowMs);
      for (const one of [bytes, damaged]) {
        loadFrame(node.pkt, one, node.portOf(from), gso && random.below(4) === 0 ? { gsoSize: 1000 } : {});
        current.processFrame(node.pkt, node.dataplane, node.nowMs);
      }
    }
  };
  play();
  const snapshot = snapshotOf(node, node.nowMs);
  const points = Point.RECEIVED | Point.SENT | Point.REPLAY;
  const program = compileFilter('', { inside: true });
  const reader = new NodeCapture(NODE, { points, snapBytes: 262_144, port: ANY_PORT, program }, node.nowMs);
  current = capture.reload(node.dataplane) as WorkerCapture;
  const packets: CapturedPacket[] = [];
  play();
  while (reader.read(packets));
  packets.sort(byTime);
  const names = new Names(NO_OBJECTS);
  const stream = new PcapngStream({ nodes: [NODE], snapBytes: 262_144, filter: '', version: 'test', replayed: true });
  const port = (packet: CapturedPacket) => ports[packet.port]!;
  const ports = Array.from({ length: 64 }, (_, i) => ({
    name: `${NODE}/port-${i}`,
    description: '',
    address: '',
    pod: undefined,
  }));
  const blocks = stream.begin(names);
  for (const packet of packets) stream.add(packet, port(packet), names);
  blocks.push(stream.take());
  assert.equal([...reader.totals().values()].map(({ lost }) => lost).filter(Boolean), [], 'nothing was lost');
  reader.close();
  shared.close();
  return { snapshot, file: Buffer.concat(blocks) };
}

function read(file: Uint8Array) {
  const reader = new RecordingReader();
  reader.push(file);
  return reader.end();
}

let recorded: ReturnType<typeof record>;
test.before(() => {
  recorded = record();
});
test.after(() => unlinkShared(memoryName(NODE, 'capture')));

test('every packet comes out as it did, whatever it was, and whatever random choice was made for it', () => {
  const { snapshot, file } = recorded;
  const recording = read(file);
  const report = replay({ version: 'test', nodes: [snapshot] }, recording, build);
  assert.ok(report.packets > 200, `${report.packets} packets`);
  assert.ok(Object.keys(report.verdicts).length > 15, Object.keys(report.verdicts).join());
  assert.equal(report.differences, []);
  assert.is(report.compared, report.packets);
  assert.is(replay({ version: 'test', nodes: [snapshot] }, recording, build).digest, report.digest);
});

test('a pipeline that decides otherwise is found, packet by packet, also as the build to compare with', () => {
  const { snapshot, file } = recorded;
  const recording = read(file);
  const shy: PipelineBuild = {
    ...build,
    processFrame: (pkt, dp, nowMs) => {
      const verdict = build.processFrame(pkt, dp, nowMs);
      return verdict === Verdict.SENT ? Verdict.NO_ROUTE : verdict;
    },
  };
  const nodes = { version: 'test', nodes: [snapshot] };
  const report = replay(nodes, recording, shy);
  assert.ok(report.different > 0);
  assert.is(report.differences[0]?.expected.verdict, 'forwarded');
  assert.is(report.differences[0]?.actual.verdict, 'no-route');
  const beside = replay(nodes, recording, build, { build: shy });
  assert.is(beside.different, report.different);
  assert.is(beside.differences[0]?.actual.verdict, 'forwarded');
});

test('frames of another capture start at the pod with their source address; there is nothing to compare with', () => {
  const at = { seconds: Math.floor(recorded.snapshot.timeMs / 1000) + 1, nanoseconds: 0 };
  const bytes = frame('tcp 10.244.1.2:4000 > 10.244.1.4:9 S', {
    dstMac: '0a:58:0a:f4:01:01',
    srcMac: '0a:58:0a:f4:01:02',
  });
  const report = replay({ version: 'test', nodes: [recorded.snapshot] }, read(writeCapture([{ bytes, ...at }])), build);
  assert.equal(report.verdicts, { forwarded: 1 });
  assert.is(report.compared, 0);
});

test('a file that is not a snapshot, or a damaged one, is refused with a message', () => {
  const bytes = encodeSnapshot({ version: 'test', nodes: [recorded.snapshot] });
  assert.throws(() => decodeSnapshot(Buffer.from('hello')), 'it is not a snapshot of this version');
  assert.throws(() => decodeSnapshot(bytes.subarray(0, bytes.length >> 1)), 'it is damaged');
  const spoiled = Buffer.from(bytes);
  spoiled[bytes.length >> 1]! ^= 0xff;
  assert.throws(() => decodeSnapshot(spoiled), 'it is damaged');
});

/** Runs the test that was written, with this build's command. */
function runTest(path: string) {
  const env = { ...process.env, DATAPLANE: MAIN, NODE_TEST_CONTEXT: undefined };
  return spawnSync(process.execPath, ['--test', path], { env, encoding: 'utf8' });
}

test('`--to-test` writes a test that passes, and fails when another outcome is expected', () => {
  const directory = mkdtempSync(join(tmpdir(), 'to-test-'));
  const [snapshot, capture, written] = ['a.snapshot', 'a.pcap', 'a.test.mjs'].map((name) => join(directory, name));
  try {
    const node = new TestNode().pod('a', '10.244.1.2').pod('b', '10.244.1.3');
    writeFileSync(snapshot!, encodeSnapshot({ version: 'test', nodes: [snapshotOf(node, node.nowMs)] }));
    const seconds = Math.floor(Date.now() / 1000) + 1;
    const frames = ['tcp 10.244.1.2:4000 > 10.244.1.3:80 S', 'tcp 10.244.1.2:4000 > 10.250.0.1:80 S'].map((text) => ({
      bytes: frame(text, { dstMac: '0a:58:0a:f4:01:01', srcMac: '0a:58:0a:f4:01:02' }),
      seconds,
      nanoseconds: 0,
    }));
    writeFileSync(capture!, writeCapture(frames));
    const replayed = (...args: string[]) =>
      spawnSync(process.execPath, [MAIN, 'replay', snapshot!, capture!, ...args], { encoding: 'utf8' });
    assert.match(
      replayed('--outcomes').stdout,
      /^1 \S+ tcp 10.244.1.2:4000 > 10.244.1.3:80 S: forwarded; port 2: tcp .*\n2 /,
    );
    const { status, stderr } = replayed('--to-test', written!);
    assert.is(status, 0, stderr);
    assert.match(replayed('--to-test', written!).stderr, /give a new file/);
    const passed = runTest(written!);
    assert.is(passed.status, 0, passed.stdout);
    const source = readFileSync(written!, 'utf8');
    writeFileSync(written!, source.replace('80 S: forwarded', '80 S: no-route'));
    const failed = runTest(written!);
    assert.is(failed.status, 1, failed.stdout);
    assert.match(failed.stdout, /no-route/);
    for (const [args, reason] of [
      [['--outcomes', '-o', 'json'], /--outcomes cannot be used with -o json/],
      [['--to-test', 'x', '--diff', 'dist'], /--to-test cannot be used with --diff/],
    ] as const) {
      const refused = replayed(...args);
      assert.is(refused.status, 2);
      assert.match(refused.stderr, reason);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test.run();
