/**
 * Cost of each stage per packet: the pipeline is run up to one stage and up to the next, interleaved, and the
 * difference is reported. (A stage cannot be run twice over one packet: the second time there is nothing left to do.)
 */
import { TimeoutClass } from '../../native-free-dataplane/conntrack/timeouts.ts';
import { quantile } from '../lib/statistics.ts';
import type { BenchNode } from './lib/bench-node.ts';
import { bundledLoops } from './lib/bundles.ts';
import type { Frames } from './lib/frames.ts';
import type { Fact } from './lib/results.ts';
import { request, SCENARIOS, type Scenario, tcpConversation, udpConversation } from './lib/scenarios.ts';

const loops = await bundledLoops<typeof import('./lib/stage-loops.ts')>('stage-loops');

const FLOWS = 1000;
const BATCH = 4000;
const ROUNDS = 250;

/** Simulated time after which connections with a lifetime of a second have expired. */
const TICK_MS = 64;
const LIFE_TICKS = 20;

interface Run {
  readonly title: string;
  readonly stages: readonly string[];
  /** Process a batch up to a stage. @returns frames that were dropped */
  readonly batch: (level: number) => number;
  /** Called between batches, not timed. */
  readonly between?: () => void;
}

export function measure(): Fact[] {
  const facts: Fact[] = [];
  for (const scenario of SCENARIOS) {
    const { node, requests, replies } = udpConversation(scenario, FLOWS);
    facts.push(...differences(establishedRun(`64 B, ${scenario.name}, request`, node, node.frames(requests))));
    if (scenario.name.includes('other node') || scenario.name.includes('another node'))
      facts.push(...differences(establishedRun(`64 B, ${scenario.name}, reply`, node, node.frames(replies))));
  }
  const { node, requests, replies } = tcpConversation(SCENARIOS[3]!, FLOWS);
  const inTurn = requests.flatMap((one, n) => [one, replies[n]!]);
  facts.push(
    ...differences(
      establishedRun(`TCP super-packets and their ACKs, ${SCENARIOS[3]!.name}`, node, node.frames(inTurn)),
    ),
  );
  facts.push(...differences(firstRun(SCENARIOS[2]!)));
  facts.push(...differences(firstRun(SCENARIOS[5]!)));
  return facts;
}

function establishedRun(title: string, { pkt, dp }: BenchNode, frames: Frames): Run {
  return {
    title,
    stages: loops.ESTABLISHED,
    batch: (level) => loops.runEstablished(frames, pkt, dp, level, BATCH),
  };
}

/** First packets: every batch has its own tuples, and its connections have expired before the next batch. */
function firstRun(scenario: Scenario): Run {
  const { node } = udpConversation(scenario, 1);
  const { pkt, dp } = node;
  const templates = Array.from({ length: 16 }, (_, n) => request(node, scenario, n, 'udp', 'len 18'));
  const frames = node.frames(templates);
  dp.timeouts[TimeoutClass.UDP] = 1;
  let turn = 0;
  const loader = {
    load: (): void => {
      frames.load();
      turn++;
      pkt.view.setUint16(pkt.start + 34, 0x8000 | ((turn >>> 4) & 0x7fff));
    },
  };
  return {
    title: `first packet, ${scenario.name}`,
    stages: loops.FIRST,
    batch: (level) => {
      dp.nowMs = node.nowMs;
      return loops.runFirst(loader, pkt, dp, level, BATCH);
    },
    between: () => {
      for (let i = 0; i < LIFE_TICKS; i++) node.advance(TICK_MS);
    },
  };
}

/** Best time up to each stage over alternating rounds, and the difference to the previous stage. */
function differences({ title, stages, batch, between }: Run): Fact[] {
  const times: number[][] = stages.map(() => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [level, own] of times.entries()) {
      const begin = performance.now();
      if (batch(level) > 0) throw new Error(`${title}: packets were lost`);
      own.push(((performance.now() - begin) * 1e6) / BATCH);
      between?.();
    }
  }
  const best = times.map((own) => quantile(own, 0.1));
  const all = { name: `${title}: all stages`, value: best.at(-1)! - best[0]!, unit: 'ns' };
  return [
    ...stages.map((stage, level) => ({
      name: `${title}: ${stage}`,
      value: level === 0 ? best[0]! : best[level]! - best[level - 1]!,
      unit: 'ns',
    })),
    all,
  ];
}
