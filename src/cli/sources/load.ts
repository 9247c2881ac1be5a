/** The load of the nodes between two measurements: rates of frames, bytes and drops, connections, and the busiest of them. */
import { nodesWithFlows } from './conntrack.ts';
import { type BusyFlow, FlowRates } from './flow-rates.ts';
import { type NodeCounters, readNodeCounters } from './status.ts';

export interface WorkerLoad {
  readonly node: string;
  readonly id: number;
  readonly threadState: string;
  readonly framesInPerSecond: number;
  readonly framesOutPerSecond: number;
  readonly dropsPerSecond: number;
}

export interface NodeLoad {
  readonly node: string;
  readonly framesInPerSecond: number;
  readonly bytesInPerSecond: number;
  readonly framesOutPerSecond: number;
  readonly bytesOutPerSecond: number;
  readonly dropsPerSecond: number;
  readonly connections: { readonly entries: number; readonly max: number };
}

export interface FlowLoad extends Pick<BusyFlow, 'node' | 'flow'> {
  readonly bytesPerSecond: number;
  readonly packetsPerSecond: number;
}

export interface Load {
  readonly seconds: number;
  readonly nodes: readonly NodeLoad[];
  readonly workers: readonly WorkerLoad[];
  readonly flows: readonly FlowLoad[];
}

interface Sample {
  readonly atMs: number;
  readonly counters: ReadonlyMap<string, NodeCounters>;
}

/** Measures the nodes of this machine. Nodes that are added or removed later are noticed. */
export class LoadMeter {
  private readonly rates = new Map<string, FlowRates>();
  private before: Sample;

  constructor() {
    this.before = this.sample();
  }

  /** The load since the previous call. @param most the number of connections to return */
  look(most: number): Load {
    const { before } = this;
    const now = this.sample();
    this.before = now;
    const seconds = Math.max(0.001, (now.atMs - before.atMs) / 1000);
    const nodes: NodeLoad[] = [];
    const workers: WorkerLoad[] = [];
    for (const [node, counters] of now.counters) {
      const old = before.counters.get(node);
      // After a restart of the agent, counters start at 0 again.
      const rate = (value: number, earlier = 0) => Math.max(0, value < earlier ? value : value - earlier) / seconds;
      const totals = totalsOf(counters);
      const earlier = old && totalsOf(old);
      nodes.push({
        node,
        framesInPerSecond: rate(totals.framesIn, earlier?.framesIn),
        bytesInPerSecond: rate(totals.bytesIn, earlier?.bytesIn),
        framesOutPerSecond: rate(totals.framesOut, earlier?.framesOut),
        bytesOutPerSecond: rate(totals.bytesOut, earlier?.bytesOut),
        dropsPerSecond: rate(totals.drops, earlier?.drops),
        connections: counters.conntrack,
      });
      for (const worker of counters.workers) {
        const then = old?.workers[worker.id];
        workers.push({
          node,
          id: worker.id,
          threadState: worker.threadState,
          framesInPerSecond: rate(worker.framesIn, then?.framesIn),
          framesOutPerSecond: rate(worker.framesOut, then?.framesOut),
          dropsPerSecond: rate(sumOf(worker.drops), then && sumOf(then.drops)),
        });
      }
    }
    const busy = [...this.rates.values()].flatMap((rates) => rates.look(most));
    const flows = busy
      .sort((a, b) => b.bytes - a.bytes)
      .slice(0, most)
      .map(({ node, flow, bytes, packets }) => ({
        node,
        flow,
        bytesPerSecond: bytes / seconds,
        packetsPerSecond: packets / seconds,
      }));
    return { seconds, nodes, workers, flows };
  }

  close(): void {
    for (const rates of this.rates.values()) rates.close();
    this.rates.clear();
  }

  private sample(): Sample {
    const names = nodesWithFlows();
    for (const [node, rates] of this.rates) {
      if (names.includes(node)) continue;
      rates.close();
      this.rates.delete(node);
    }
    for (const node of names) if (!this.rates.has(node)) this.rates.set(node, new FlowRates(node));
    return { atMs: performance.now(), counters: new Map(names.map((node) => [node, readNodeCounters(node)])) };
  }
}

const sumOf = (drops: Readonly<Record<string, number>>): number =>
  Object.values(drops).reduce((sum, count) => sum + count, 0);

function totalsOf({ devices, workers }: NodeCounters) {
  const sum = { framesIn: 0, bytesIn: 0, framesOut: 0, bytesOut: 0, drops: 0 };
  for (const device of devices) {
    sum.framesIn += device.framesIn;
    sum.bytesIn += device.bytesIn;
    sum.framesOut += device.framesOut;
    sum.bytesOut += device.bytesOut;
  }
  for (const { drops } of workers) sum.drops += sumOf(drops);
  return sum;
}
