/**
 * The traced build behaves like the pipeline: same verdicts, same bytes, same tables. The calls that it reports are
 * nested.
 */
import { createHash } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Emitter } from '../../../native-free-dataplane/dataplane.ts';
import type { Packet } from '../../../native-free-dataplane/packet.ts';
import { processFrame } from '../../../native-free-dataplane/pipeline.ts';
import type { Tracer } from '../../../native-free-dataplane/trace/probe.ts';
import { processTraced as processUntraced } from '../../../native-free-dataplane/trace/traced.ts';
import { Verdict, verdictName } from '../../../native-free-dataplane/verdicts.ts';
import { loadFrame } from '../../lib/frames/load-frame.ts';
import { fuzzNode, seedFrames } from '../../lib/fuzz-node.ts';
import { seededRandom } from '../../lib/seeded-random.ts';
import type { TestNode, TestNodeOptions } from '../../lib/test-node.ts';
import { processTraced } from '../../lib/traced-build.ts';

const test = suite('traced build');
const seeds = seedFrames().filter((_, i) => i % 11 === 0);

const CONFIGURATIONS: Record<string, TestNodeOptions> = {
  vxlan: { overlay: 'vxlan' },
  'declared ports, no offloads': {
    portPolicy: 'declared',
    localPolicyDrops: true,
    features: { tunnelOffload: false, udpSegmentation: false },
  },
  ipip: { overlay: 'ipip', podMtu: 1480 },
  'host-gw': { overlay: 'host-gw', podMtu: 1500, maxConntrack: 64 },
};

/** Complete calls: each one that began has returned, in order. */
class Nesting implements Tracer {
  readonly open: string[] = [];
  readonly ended = new Set<string>();
  verdict = -1;

  enter(file: string, name: string): void {
    this.open.push(`${file} ${name}`);
  }

  leave(line: number, result: unknown): void {
    const call = this.open.pop();
    assert.ok(call !== undefined && line > 0, `${call} ends at line ${line}`);
    this.ended.add(call);
    if (call === 'native-free-dataplane/pipeline.ts processFrame') this.verdict = result as number;
  }
}

const sha256 = (table: ArrayBuffer): string => createHash('sha256').update(new Uint8Array(table)).digest('hex');

type Process = (pkt: Packet, node: TestNode) => Verdict;

/** Verdicts and emissions of seed frames, every eleventh, whole and damaged, and a digest of the tables at the end. */
function story(process: Process, options: TestNodeOptions): string[] {
  const done: string[] = [];
  const emitter: Emitter = {
    emit: (pkt) => {
      const bytes = Buffer.from(pkt.bytes.subarray(pkt.start, pkt.end)).toString('hex');
      done.push(`${pkt.outPort} ${pkt.needsChecksum} ${pkt.gsoType} ${pkt.gsoSize} ${bytes}`);
    },
  };
  const node = fuzzNode(emitter, options);
  const random = seededRandom(99);
  for (const { from, bytes, gso } of seeds) {
    const damaged = bytes.slice();
    damaged[random.below(damaged.length)]! ^= 1 << random.below(8);
    for (const frame of [bytes, damaged, bytes]) {
      node.nowMs += random.below(30);
      loadFrame(node.pkt, frame, node.portOf(from), gso && random.below(4) === 0 ? { gsoSize: 1000 } : {});
      done.push(verdictName(process(node.pkt, node)));
    }
  }
  for (const table of Object.values(node.buffers) as ArrayBuffer[]) done.push(sha256(table));
  return done;
}

for (const [name, options] of Object.entries(CONFIGURATIONS)) {
  test(`same verdicts, same bytes, same tables as the modules: ${name}`, () => {
    const expected = story((pkt, { dataplane, nowMs }) => processFrame(pkt, dataplane, nowMs), options);
    const nesting = new Nesting();
    const traced = story((pkt, { dataplane, nowMs }) => {
      const verdict = processTraced(pkt, dataplane, nowMs, nesting);
      assert.equal(nesting.open, [], 'every call has ended');
      assert.is(nesting.verdict, verdict);
      return verdict;
    }, options);
    assert.ok(new Set(expected).size > 200, 'the frames end in many different ways');
    assert.is(traced.length, expected.length);
    assert.ok(
      traced.every((line, i) => line === expected[i]),
      'the traced build differs',
    );
    for (const call of ['stages/guard.ts guard', 'conntrack/tuple-index.ts findTuple', 'node/routes.ts findRoute']) {
      assert.ok(nesting.ended.has(`native-free-dataplane/${call}`), call);
    }
  });
}

test('the modules report nothing', () => {
  const nesting = new Nesting();
  const node = fuzzNode({ emit() {} }, {});
  const { from, bytes } = seedFrames()[0]!;
  loadFrame(node.pkt, bytes, node.portOf(from));
  assert.is.not(processUntraced(node.pkt, node.dataplane, node.nowMs, nesting), Verdict.GO_ON);
  assert.is(nesting.ended.size, 0);
});

test.run();
