/**
 * The same pipeline in four builds, each in a process of its own, interleaved: as separate modules, or as the one
 * function that workers run (scripts/bundle.mjs); with V8's default inlining limits, or the workers'
 * (src/worker/inlining.ts).
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import * as modules from '../../native-free-dataplane/pipeline.ts';
import { INLINING_FLAGS } from '../../src/worker/inlining.ts';
import { median, quantile } from '../lib/statistics.ts';
import type { BenchNode } from './lib/bench-node.ts';
import { bundledPipeline, type PipelineModule } from './lib/bundles.ts';
import type { Frames } from './lib/frames.ts';
import type { Fact } from './lib/results.ts';
import { type Conversation, SCENARIOS, tcpConversation, udpConversation } from './lib/scenarios.ts';

const SELF = fileURLToPath(import.meta.url);
const FLOWS = 1000;
const ROUNDS = 3;
const BATCH = 4000;
const MILLISECONDS = 700;

interface Build {
  readonly name: string;
  readonly joined: boolean;
  /** Node's options. */
  readonly flags: readonly string[];
}

const BUILDS: readonly Build[] = [
  { name: 'modules', joined: false, flags: [] },
  { name: "modules, workers' limits", joined: false, flags: INLINING_FLAGS },
  { name: 'one function', joined: true, flags: [] },
  { name: "one function, workers' limits", joined: true, flags: INLINING_FLAGS },
];

/** Nanoseconds by row. */
type Times = Record<string, number>;

export async function measure(): Promise<Fact[]> {
  const found = BUILDS.map((): Times[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, build] of BUILDS.entries()) found[i]!.push(await inProcess(build));
  }
  return Object.keys(found[0]![0]!).flatMap((row) =>
    BUILDS.map(({ name }, i) => ({
      name: `${row}: ${name}`,
      value: median(found[i]!.map((times) => times[row]!)),
      unit: 'ns',
    })),
  );
}

function inProcess({ joined, flags }: Build): Promise<Times> {
  return new Promise((resolve, reject) => {
    const child = fork(SELF, [joined ? 'joined' : 'modules'], {
      execArgv: [...flags],
    });
    child.once('message', (times) => resolve(times as Times));
    child.once('exit', (code) => reject(new Error(`a build ended with status ${code} and no result`)));
  });
}

/** Run in a child process: each row for a while, the benchmark's own overhead subtracted. */
function timeAll(pipeline: PipelineModule): Times {
  const [clusterIp, remote] = [SCENARIOS[2]!, SCENARIOS[3]!];
  const local = udpConversation(clusterIp, FLOWS, pipeline);
  const overlay = udpConversation(remote, FLOWS, pipeline);
  const tcp = tcpConversation(clusterIp, FLOWS, pipeline);
  const frames = ({ node }: Conversation, templates: Conversation['requests']): [BenchNode, Frames] => [
    node,
    node.frames(templates),
  ];
  return {
    'ClusterIP, endpoint here, 64 B': time(...frames(local, local.requests)),
    'ClusterIP, endpoint on another node, 64 B': time(...frames(overlay, overlay.requests)),
    'its reply, from the overlay': time(...frames(overlay, overlay.replies)),
    'TCP super-packets and their ACKs': time(
      ...frames(
        tcp,
        tcp.requests.flatMap((one, n) => [one, tcp.replies[n]!]),
      ),
    ),
  };
}

function time(node: BenchNode, frames: Frames): number {
  const whole: number[] = [];
  const alone: number[] = [];
  const end = performance.now() + MILLISECONDS;
  while (performance.now() < end) {
    const begin = performance.now();
    for (let i = 0; i < BATCH; i++) {
      frames.load();
      node.process();
    }
    const between = performance.now();
    for (let i = 0; i < BATCH; i++) frames.load();
    whole.push(((between - begin) * 1e6) / BATCH);
    alone.push(((performance.now() - between) * 1e6) / BATCH);
  }
  const best = (times: number[]): number => quantile(times, 0.1);
  return best(whole) - best(alone);
}

if (process.argv[1] === SELF && process.send) {
  const pipeline = process.argv[2] === 'joined' ? bundledPipeline : modules;
  process.send(timeAll(pipeline));
  process.disconnect();
}
