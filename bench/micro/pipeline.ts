/**
 * The whole pipeline, frame by frame: established connections of every kind, one flow, a thousand, 64,000; and the
 * first packets of new ones. The benchmark's own cost of putting a frame in place has rows of its own.
 */
import Benchmark from 'benchmark';
import { Verdict, verdictName } from '../../native-free-dataplane/verdicts.ts';
import type { BenchNode } from './lib/bench-node.ts';
import type { Frames, Template } from './lib/frames.ts';
import { NewConnections } from './lib/new-connections.ts';
import {
  type Conversation,
  isSent,
  SCENARIOS,
  type Scenario,
  tcpConversation,
  udpConversation,
} from './lib/scenarios.ts';

/** Frames per call of a benchmark's function. */
const BATCH = 512;
const FLOWS = [1, 1000, 64_000];

export const suite: Benchmark.Suite = new Benchmark.Suite();

interface Stage {
  readonly node: BenchNode;
  readonly frames: Frames;
}

/** Process frames. @throws Error if one of them was not forwarded */
function play({ node, frames }: Stage): void {
  let lost: Verdict = Verdict.GO_ON;
  for (let i = 0; i < BATCH; i++) {
    frames.load();
    const verdict = node.process();
    if (!isSent(verdict)) lost = verdict;
  }
  if (lost !== Verdict.GO_ON) throw new Error(`a packet ended with ${verdictName(lost)}`);
}

/** A row of the table: its node is created when the row is measured, and released afterwards. */
function add(name: string, prepare: () => Stage, run: (stage: Stage) => void): void {
  let stage: Stage | undefined;
  suite.add(name, {
    operations: BATCH,
    onStart: () => {
      stage = prepare();
    },
    fn: () => run(stage!),
    onComplete: () => {
      stage = undefined;
    },
  } as Benchmark.Options);
}

let kept: { key: string; conversation: Conversation } | undefined;

/** Established UDP flows; those created last are kept for the next row. */
function udp(scenario: Scenario, flows: number): Conversation {
  const key = `${scenario.name} ${flows}`;
  if (kept?.key !== key) kept = { key, conversation: udpConversation(scenario, flows) };
  return kept.conversation;
}

function staged({ node }: Conversation, templates: readonly Template[]): Stage {
  return { node, frames: node.frames(templates) };
}

for (const flows of FLOWS) {
  add(
    `bench alone: put a frame in place, ${flows} flows`,
    () => {
      const made = udp(SCENARIOS[2]!, flows);
      return staged(made, made.requests);
    },
    ({ frames }) => {
      for (let i = 0; i < BATCH; i++) frames.load();
    },
  );
}

for (const scenario of SCENARIOS) {
  for (const flows of FLOWS) {
    add(
      `64 B, ${scenario.name}: request, ${flows} flows`,
      () => {
        const conversation = udp(scenario, flows);
        return staged(conversation, conversation.requests);
      },
      play,
    );
    add(
      `64 B, ${scenario.name}: reply, ${flows} flows`,
      () => {
        const conversation = udp(scenario, flows);
        return staged(conversation, conversation.replies);
      },
      play,
    );
  }
}

for (const scenario of SCENARIOS) {
  for (const flows of [1, 1000]) {
    add(
      `TCP, ${scenario.name}: super-packet and its ACK in turn, ${flows} flows`,
      () => {
        const conversation = tcpConversation(scenario, flows);
        const { requests, replies } = conversation;
        return staged(
          conversation,
          requests.flatMap((one, n) => [one, replies[n]!]),
        );
      },
      play,
    );
  }
}

function addNew(scenario: Scenario, protocol: 'tcp' | 'udp', live: number): void {
  let connections: NewConnections | undefined;
  suite.add(`new ${protocol} connection, ${scenario.name}: first packet and expiry, among ${live}`, {
    operations: BATCH,
    onStart: () => {
      connections = new NewConnections(udpConversation(scenario, 1).node, scenario, protocol, live);
    },
    fn: () => connections!.open(BATCH),
    onComplete: () => {
      connections = undefined;
    },
  } as Benchmark.Options);
}

for (const scenario of SCENARIOS) addNew(scenario, 'udp', 16_384);
addNew(SCENARIOS[2]!, 'tcp', 16_384);
addNew(SCENARIOS[2]!, 'tcp', 65_536);
