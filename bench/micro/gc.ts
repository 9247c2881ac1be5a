/**
 * Forwarding allocates nothing per frame: the pipeline runs for some seconds over established and new connections, and
 * the heap must not grow with the frames, nor garbage collection pause it for long.
 */
import { constants, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { TimeoutClass } from '../../native-free-dataplane/conntrack/timeouts.ts';
import type { BenchNode } from './lib/bench-node.ts';
import type { Frames, Template } from './lib/frames.ts';
import type { Fact } from './lib/results.ts';
import { request, SCENARIOS, type Scenario, tcpConversation, udpConversation } from './lib/scenarios.ts';

const SECONDS = 4;
/** Average bytes of heap per frame that are allowed: far below the smallest object (16 bytes). */
const MOST_BYTES = 0.05;
const MOST_PAUSE_MS = 5;
const BATCH = 20_000;
const TICK_MS = 64;

interface Player {
  readonly node: BenchNode;
  readonly frames: Frames;
  /** Every frame is the first of a connection. */
  readonly fresh: boolean;
}

function players(): Player[] {
  const all: Player[] = [];
  const add = ({ node, requests, replies }: { node: BenchNode; requests: Template[]; replies: Template[] }): void => {
    all.push({ node, frames: node.frames(requests.flatMap((one, n) => [one, replies[n]!])), fresh: false });
  };
  for (const scenario of SCENARIOS) {
    add(udpConversation(scenario, 1000));
    add(tcpConversation(scenario, 100));
    all.push(newcomers(scenario, 'udp', 'len 18'));
    all.push(newcomers(scenario, 'tcp', 'S seq 0 win 64000'));
  }
  return all;
}

function newcomers(scenario: Scenario, protocol: string, rest: string): Player {
  const { node } = udpConversation(scenario, 1);
  const templates = Array.from({ length: 16 }, (_, n) => request(node, scenario, n, protocol, rest));
  const frames = node.frames(templates);
  node.dp.timeouts[TimeoutClass.UDP] = 1;
  node.dp.timeouts[TimeoutClass.TCP_SYN_SENT] = 1;
  return { node, frames, fresh: true };
}

let source = 0;

function play({ node, frames, fresh }: Player): void {
  const { view } = node.pkt;
  const sent = node.sink.frames;
  for (let i = 0; i < BATCH; i++) {
    frames.load();
    if (fresh) {
      if ((i & 15) === 0) source = (source + 1) & 0x7fff;
      view.setUint16(node.pkt.start + 34, 0x8000 | source);
      if ((i & 1023) === 0) node.advance(TICK_MS);
    }
    node.process();
  }
  if (node.sink.frames !== sent + BATCH) throw new Error('frames were lost');
}

interface Collection {
  readonly kind: number;
  readonly ms: number;
}

/** @returns allocations and collections observed */
export async function measure(): Promise<Fact[]> {
  const all = players();
  const collections: Collection[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const { kind } = (entry as PerformanceEntry & { detail: { kind: number } }).detail;
      collections.push({ kind, ms: entry.duration });
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  await rounds(all, SECONDS);
  (globalThis as { gc?: () => void }).gc?.();
  // Collections are reported with a delay.
  await setTimeout(100);
  collections.length = 0;

  const before = process.memoryUsage().heapUsed;
  const frames = await rounds(all, SECONDS);
  const grown = process.memoryUsage().heapUsed - before;
  await setTimeout(100);
  observer.disconnect();
  const longest = collections.reduce((most, { ms }) => Math.max(most, ms), 0);
  const minor = collections.filter(({ kind }) => kind === constants.NODE_PERFORMANCE_GC_MINOR).length;
  return [
    {
      name: 'frames, a quarter of them the first of a TCP connection, a quarter of a UDP one',
      value: frames,
      unit: '',
    },
    { name: 'heap a frame costs', value: Math.max(0, grown) / frames, unit: 'bytes', atMost: MOST_BYTES },
    { name: 'collections of young objects', value: minor, unit: '' },
    { name: 'other collections', value: collections.length - minor, unit: '' },
    { name: 'longest collection', value: longest, unit: 'ms', atMost: MOST_PAUSE_MS },
  ];
}

/** Process frames of all players in turn for `seconds`. @returns frames processed */
async function rounds(all: readonly Player[], seconds: number): Promise<number> {
  let frames = 0;
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    for (const player of all) {
      play(player);
      frames += BATCH;
    }
    await setImmediate();
  }
  return frames;
}
