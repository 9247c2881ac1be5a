/** What the page shows of a running cluster, kept up to date from its objects, its flows and its load; within bounds. */
import type { Flow } from '../observe/hubble/flow.ts';
import { tableRow } from '../observe/hubble/print.ts';
import { EdgeBook, edgeId } from './edges.ts';
import { beginsConnection, Directory, endsOf, type FlowEnds, isDrop } from './flow-ends.ts';
import type { FlowRow, NodeLoadView, Topology, Update } from './protocol.ts';

/** Flows that are kept, for readers that come later or change their filter. */
const KEPT_FLOWS = 4096;

export interface KeptFlow {
  readonly number: number;
  readonly flow: Flow;
}

const EMPTY: Topology = { nodes: [], pods: [], services: [], policies: [] };

export class LiveModel {
  private readonly edges = new EdgeBook();
  private readonly kept: KeptFlow[] = [];
  private topology: Topology = EMPTY;
  /** The objects are known: without them, every end would be outside. */
  private hasTopology = false;
  private topologyChanged = false;
  private directory = new Directory(EMPTY);
  private loads: readonly NodeLoadView[] = [];
  private loadsChanged = false;
  private lost = 0;
  private lostNow = 0;
  private notice = '';
  private noticeChanged = false;
  private tickedMs: number | undefined;
  /** Number of the last flow; 0: there is none. */
  lastFlow = 0;

  setTopology(topology: Topology): void {
    this.topology = topology;
    this.directory = new Directory(topology);
    this.topologyChanged = true;
    this.hasTopology = true;
  }

  setNotice(text: string): void {
    this.noticeChanged ||= text !== this.notice;
    this.notice = text;
  }

  setLoads(loads: readonly NodeLoadView[]): void {
    this.loads = loads;
    this.loadsChanged = true;
  }

  /** A flow from before the page was served: it is listed, and is part of no rate. */
  addPast(flow: Flow): void {
    this.kept.push({ number: ++this.lastFlow, flow });
    if (this.kept.length > KEPT_FLOWS) this.kept.shift();
  }

  addFlow(flow: Flow, nowMs: number): void {
    this.addPast(flow);
    if (!this.hasTopology) return;
    const drop = isDrop(flow);
    if (!drop && !beginsConnection(flow, this.directory)) return;
    const ends = endsOf(flow, this.directory);
    if (ends === undefined) return;
    if (drop) this.edges.dropped(ends, flow.Summary.split(/[: ]/, 1)[0]!, nowMs);
    else this.edges.opened(ends, nowMs);
  }

  /** Events of a node that were overwritten before they were read. */
  addLost(count: number): void {
    this.lost += count;
    this.lostNow += count;
  }

  /** The connections with the most bytes, as the nodes count them. */
  setCarried(measured: readonly { readonly ends: FlowEnds; readonly bytesPerSecond: number }[], nowMs: number): void {
    this.edges.carried(measured, nowMs);
  }

  get names(): Directory {
    return this.directory;
  }

  /** Ends a period of time. */
  tick(nowMs: number): void {
    if (this.tickedMs !== undefined && nowMs > this.tickedMs) this.edges.tick(nowMs - this.tickedMs, nowMs);
    this.tickedMs = nowMs;
  }

  /** Everything, for a new reader. */
  whole(): Update {
    const { topology, loads, lost, notice } = this;
    return { topology, loads, edges: this.edges.all(), whole: true, lost, notice };
  }

  /** What changed since the last call. */
  change(): Update {
    const { edges, whole } = this.edges.changed();
    const update: Update = {
      ...(this.topologyChanged && { topology: this.topology }),
      ...(this.loadsChanged && { loads: this.loads }),
      ...((edges.length > 0 || whole) && { edges }),
      ...(whole && { whole }),
      ...(this.lostNow > 0 && { lost: this.lost }),
      ...(this.noticeChanged && { notice: this.notice }),
    };
    this.topologyChanged = false;
    this.loadsChanged = false;
    this.noticeChanged = false;
    this.lostNow = 0;
    return update;
  }

  /** Kept flows with a higher number that pass, oldest first. */
  flowsAfter(number: number, passes: (flow: Flow) => boolean): KeptFlow[] {
    const first = this.kept[0]?.number ?? 0;
    return this.kept.slice(Math.max(0, number + 1 - first)).filter(({ flow }) => passes(flow));
  }

  rowOf({ number, flow }: KeptFlow): FlowRow {
    const [, source = '', destination = '', type = '', verdict = '', summary = ''] = tableRow(flow, PRINT);
    const ends = endsOf(flow, this.directory);
    return {
      number,
      time: flow.time,
      node: flow.node_name,
      source,
      destination,
      type,
      verdict,
      summary,
      dropped: flow.verdict === 'DROPPED',
      walk: ends?.sample,
      edge: ends === undefined ? '' : edgeId(ends),
    };
  }
}

const PRINT = { nodeName: false, numeric: false } as const;
