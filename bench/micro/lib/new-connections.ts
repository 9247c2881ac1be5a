/** First packets of new connections, of which as many expire as are made. */
import { TimeoutClass } from '../../../native-free-dataplane/conntrack/timeouts.ts';
import { Verdict, verdictName } from '../../../native-free-dataplane/verdicts.ts';
import type { BenchNode } from './bench-node.ts';
import type { Frames } from './frames.ts';
import { CLIENTS, isSent, request, type Scenario } from './scenarios.ts';

/** Simulated milliseconds in which that many new connections are created. */
const TICK_MS = 64;
const NEW_IN_TICK = 1024;

export class NewConnections {
  private readonly node: BenchNode;
  private readonly frames: Frames;
  private made = 0;
  private source = 0;

  /** @param live number of live connections: each lives as long as it takes to create that many others */
  constructor(node: BenchNode, scenario: Scenario, protocol: 'tcp' | 'udp', live: number) {
    const text = protocol === 'tcp' ? 'S seq 0 win 64000' : 'len 18';
    const options = protocol === 'tcp' ? { tcpOptions: 'mss 1410, sackOK, ts 1 0, nop, wscale 7' } : {};
    this.node = node;
    this.frames = node.frames(
      Array.from({ length: CLIENTS }, (_, n) => request(node, scenario, n, protocol, text, options)),
    );
    const seconds = (live / NEW_IN_TICK) * (TICK_MS / 1000);
    node.dp.timeouts[TimeoutClass.TCP_SYN_SENT] = seconds;
    node.dp.timeouts[TimeoutClass.UDP] = seconds;
  }

  /** @throws Error if a packet is not forwarded */
  open(count: number): void {
    const { node, frames } = this;
    const { view } = node.pkt;
    let lost: Verdict = Verdict.GO_ON;
    for (let i = 0; i < count; i++) {
      this.put(frames, view);
      const verdict = node.process();
      if (!isSent(verdict)) lost = verdict;
    }
    this.made += count;
    if (this.made % NEW_IN_TICK === 0) node.advance(TICK_MS);
    if (lost !== Verdict.GO_ON) throw new Error(`a packet ended with ${verdictName(lost)}`);
  }

  /** What `open` costs without the pipeline. */
  putAlone(count: number): void {
    const { view } = this.node.pkt;
    for (let i = 0; i < count; i++) this.put(this.frames, view);
  }

  private put(frames: Frames, view: DataView): void {
    frames.load();
    // The clients take turns and use one port after another; after all ports, each client continues with its
    // neighbour's.
    this.source++;
    view.setUint16(this.node.pkt.start + 34, 0x8000 | ((this.source + (this.source >>> 15)) & 0x7fff));
  }
}
