/**
 * A node in memory for timing: a worker's tables, the real pipeline, and devices that accept every frame and only count
 * it.
 */
import { attachDataplane, type Dataplane, type Emitter } from '../../../native-free-dataplane/dataplane.ts';
import type { Packet } from '../../../native-free-dataplane/packet.ts';
import { Verdict, verdictName } from '../../../native-free-dataplane/verdicts.ts';
import { macOf } from '../../../src/net/pod-network.ts';
import { type FrameOptions, frame } from '../../../test/lib/frames/frame-text.ts';
import { TestNode } from '../../../test/lib/test-node.ts';
import { type PipelineModule, workersPipeline } from './bundles.ts';
import { Frames, type Template, turnedRound } from './frames.ts';

/** Takes frames; keeps a copy of the last one while `keep` is set. */
class Sink implements Emitter {
  frames = 0;
  keep = false;
  last: Uint8Array = new Uint8Array(0);
  port = 0;

  emit(pkt: Packet): void {
    this.frames++;
    if (!this.keep) return;
    this.last = pkt.bytes.slice(pkt.start, pkt.end);
    this.port = pkt.outPort;
  }
}

export class BenchNode {
  readonly testNode: TestNode;
  readonly sink: Sink = new Sink();
  readonly dp: Dataplane;
  readonly pkt: Packet;
  nowMs = 100_000;

  /** The build of the pipeline that processes frames. */
  pipeline: PipelineModule;

  /**
   * @param maxConntrack capacity of the connection table
   * @param services memory of a service table, by default the test node's own
   * @param pipeline the pipeline to measure, by default the one that workers run
   */
  constructor(maxConntrack: number, services?: ArrayBuffer, pipeline: PipelineModule = workersPipeline()) {
    this.pipeline = pipeline;
    // Room for the policies of a large cluster; memory that is not touched costs nothing.
    this.testNode = new TestNode({ maxConntrack, policies: {} });
    const { conntrack, node, counters, dataplane } = this.testNode;
    const buffers = {
      conntrack: conntrack.words.buffer as ArrayBuffer,
      services: services ?? (this.testNode.services.words.buffer as ArrayBuffer),
      routes: node.words.buffer as ArrayBuffer,
      counters: counters.words.buffer as ArrayBuffer,
      fragments: dataplane.fragments.words.buffer as ArrayBuffer,
      policies: dataplane.policies.words.buffer as ArrayBuffer,
    };
    const features = { tunnelOffload: true, udpSegmentation: true };
    this.dp = attachDataplane(buffers, 0, this.sink, features, 7);
    this.pkt = this.testNode.pkt;
  }

  /** A frame from a pod or `host`, given as text (test/lib/frames/frame-text.ts). */
  template(from: string, text: string, options: FrameOptions = {}, more: Partial<Template> = {}): Template {
    const gateway = macOf(this.testNode.gateway);
    const macs = from === 'host' ? { dstMac: gateway, srcMac: '02:00:00:00:00:09' } : { dstMac: gateway };
    return { bytes: frame(text, { ...macs, ...options }), port: this.testNode.portOf(from), ...more };
  }

  /**
   * Process one frame.
   * @returns the reply to the frame that was sent: the same frame with addresses and ports swapped
   * @throws Error if nothing was sent
   */
  send(template: Template): Template {
    this.sink.keep = true;
    const before = this.sink.frames;
    const verdict = this.play(template);
    this.sink.keep = false;
    if (this.sink.frames !== before + 1) throw new Error(`not sent: ${verdictName(verdict)}`);
    return { bytes: turnedRound(this.sink.last), port: this.sink.port };
  }

  private play(template: Template): Verdict {
    let verdict: Verdict = Verdict.GO_ON;
    let first = true;
    const one = new Frames(this.pkt, [template], () => {
      if (first) verdict = this.pipeline.processFrame(this.pkt, this.dp, this.nowMs);
      first = false;
    });
    if (one.count !== 1) throw new Error('unreachable');
    return verdict;
  }

  /** Frames to be processed in turn. */
  frames(templates: readonly Template[]): Frames {
    return new Frames(this.pkt, templates, () => this.process());
  }

  /** Process the packet in the arena. */
  process(): Verdict {
    return this.pipeline.processFrame(this.pkt, this.dp, this.nowMs);
  }

  /** Advance the clock, and run the periodic work as a worker does. */
  advance(ms: number): void {
    this.nowMs += ms;
    while (this.pipeline.tick(this.dp, this.nowMs) === 1);
  }
}
