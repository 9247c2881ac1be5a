/**
 * What the pipeline costs without devices, nanoseconds: a 64-byte frame, and a super-packet with its acknowledgement, to an
 * endpoint on the same node. Run in a process of its own, with a worker's flags of V8 (`pipelineCost`).
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { INLINING_FLAGS } from '../../../src/worker/inlining.ts';
import { SCENARIOS, tcpConversation, udpConversation } from '../../micro/lib/scenarios.ts';

export interface PipelineCost {
  readonly frame: number;
  readonly superPacketAndAck: number;
}

const FILE = fileURLToPath(import.meta.url);
const FRAMES = 100_000;
const ROUNDS = 15;

export function pipelineCost(): PipelineCost {
  return JSON.parse(execFileSync(process.execPath, [...INLINING_FLAGS, FILE], { encoding: 'utf8' })) as PipelineCost;
}

function measured(): PipelineCost {
  const scenario = SCENARIOS.find(({ name }) => name === 'ClusterIP, endpoint here')!;
  const datagrams = udpConversation(scenario, 1);
  const frames = datagrams.node.frames(datagrams.requests);
  const bulk = tcpConversation(scenario, 1);
  const inTurn = bulk.node.frames([...bulk.requests, ...bulk.replies]);
  const placing = timeOf(() => frames.load());
  const each = (one: typeof frames, node: typeof bulk.node): number =>
    timeOf(() => {
      one.load();
      node.process();
    }) - placing;
  return { frame: each(frames, datagrams.node), superPacketAndAck: 2 * each(inTurn, bulk.node) };
}

function timeOf(work: () => void): number {
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = process.hrtime.bigint();
    for (let i = 0; i < FRAMES; i++) work();
    best = Math.min(best, Number(process.hrtime.bigint() - begin) / FRAMES);
  }
  return best;
}

if (process.argv[1] === FILE) process.stdout.write(JSON.stringify(measured()));
