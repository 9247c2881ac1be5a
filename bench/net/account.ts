/**
 * Where the time of a forwarded frame goes: what the C relay needs for it, and of dataplane's time the parts that were
 * measured on their own (pipeline, FFI, waiting), with what remains. Relay and dataplane alternate within each round.
 */
import { join } from 'node:path';
import { openShared } from '../../src/linux/shm.ts';
import { memoryName } from '../../src/shm-names.ts';
import { attachControl, ControlWord, controlAt } from '../../src/worker/control.ts';
import { median } from '../lib/statistics.ts';
import type { Contender, TestNetwork } from './contenders/contender.ts';
import { dataplane } from './contenders/dataplane.ts';
import { cRelay } from './contenders/relay.ts';
import { type CallCost, costInC, costThroughFfi } from './lib/call-cost.ts';
import { receivedBy } from './lib/links.ts';
import { claimMachine } from './lib/netns.ts';
import { benchOptions } from './lib/options.ts';
import { type PipelineCost, pipelineCost } from './lib/pipeline-cost.ts';
import { runScript } from './lib/processes.ts';
import { busiestThread } from './lib/thread-time.ts';
import { describeMachine, missing } from './lib/tools.ts';
import { bulk } from './metrics/bulk.ts';
import { forwardingRate } from './metrics/forwarding-rate.ts';
import type { Metric } from './metrics/metric.ts';
import { startServers } from './metrics/servers.ts';

const HELP = `usage: node dist/bench/net/account.js [--rounds 5] [--seconds 3]
Prints, for a 64-byte frame and for a super-packet with its acknowledgements, the forwarder's processor time and what it consists of.
`;

interface Load {
  readonly title: string;
  readonly metric: Metric;
  readonly pipeline: (cost: PipelineCost) => number;
}

const LOADS: readonly Load[] = [
  {
    title: '64-byte frame (trafgen)',
    metric: forwardingRate('trafgen', 'same node', 'sameNode'),
    pipeline: ({ frame }) => frame,
  },
  {
    title: 'super-packet with its acknowledgements (iperf3)',
    metric: bulk('bulk-1', 'same node', 'sameNode', 1),
    pipeline: ({ superPacketAndAck }) => superPacketAndAck,
  },
];

/** One measurement, per frame that the server received. */
interface Sample {
  readonly total: number;
  readonly inKernel: number;
  /** Frames of both directions, and turns of the worker's loop. */
  readonly frames: number;
  readonly turns: number;
}

await runScript(async () => {
  const { rounds, seconds } = benchOptions(HELP, { rounds: 5, seconds: 3 });
  const contenders = [cRelay(), dataplane()];
  const lack = missing(['iperf3', 'trafgen', 'gcc']) ?? contenders.map((one) => one.unavailable()).find(Boolean);
  if (lack) throw new Error(lack);
  claimMachine();
  const machine = await describeMachine();
  const samples = new Map<string, Sample[]>();
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) await measureContender(contender, seconds, samples);
  }
  const calls = { c: costInC(), ffi: await costThroughFfi() };
  const pipeline = pipelineCost();
  process.stdout.write(`${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${process.version}\n`);
  process.stdout.write(`medians of ${rounds} rounds, nanoseconds of the forwarding thread\n\n`);
  for (const load of LOADS) {
    const relay = samples.get(`relay ${load.title}`) ?? [];
    const ours = samples.get(`dataplane ${load.title}`) ?? [];
    process.stdout.write(`${account(load, relay, ours, calls, load.pipeline(pipeline)).join('\n')}\n\n`);
  }
});

async function measureContender(contender: Contender, seconds: number, samples: Map<string, Sample[]>): Promise<void> {
  try {
    const network = await contender.up();
    const servers = await startServers(network);
    try {
      for (const load of LOADS) {
        const key = `${contender.name} ${load.title}`;
        samples.set(key, [...(samples.get(key) ?? []), await measureLoad(load, network, contender.name, seconds)]);
      }
    } finally {
      await servers.stop();
    }
  } finally {
    await contender.down();
  }
}

async function measureLoad(load: Load, network: TestNetwork, contender: string, seconds: number): Promise<Sample> {
  const { clientNetns, serverNetns } = network.sameNode!;
  const received = (): [number, number] => [receivedBy(serverNetns), receivedBy(clientNetns)];
  const turns = contender === 'dataplane' ? turnsOf('n1') : () => 0;
  const [before, turnsBefore] = [received(), turns()];
  const time = await busiestThread(network.forwarders[0]!, async () => {
    await load.metric.measure(network, seconds);
  });
  const [after, turnsAfter] = [received(), turns()];
  const [delivered, returned] = [after[0] - before[0], after[1] - before[1]];
  return {
    total: time.total / delivered,
    inKernel: (time.total * time.kernelShare) / delivered,
    frames: (delivered + returned) / delivered,
    turns: (turnsAfter - turnsBefore) / delivered,
  };
}

/** Reads how many turns the first worker of a node has completed: one for each port read, and one for each wait. */
function turnsOf(node: string): () => number {
  const control = attachControl(openShared(memoryName(node, 'control')).buffer);
  if (!control)
    throw new Error(`${join('/dev/shm', memoryName(node, 'control'))} has another layout than this build's`);
  return () => Atomics.load(control, controlAt(0, ControlWord.TURNS)) >>> 0;
}

/** The lines of one load: parts of dataplane's time that add up to the whole. */
function account(
  { title }: Load,
  relay: readonly Sample[],
  ours: readonly Sample[],
  calls: { c: CallCost; ffi: CallCost },
  pipeline: number,
): string[] {
  const of = (samples: readonly Sample[], field: keyof Sample): number => median(samples.map((one) => one[field]));
  const total = of(ours, 'total');
  const device = of(relay, 'total');
  const frames = of(ours, 'frames');
  const ffi = frames * (calls.ffi.read - calls.c.read + calls.ffi.write - calls.c.write);
  // Half of the turns are waits: an epoll_wait and the clock each.
  const waiting = (of(ours, 'turns') / 2) * (calls.ffi.epoll + calls.ffi.clock);
  const line = (name: string, value: number): string =>
    `  ${name.padEnd(58)} ${Math.round(value).toString().padStart(7)}  ${((100 * value) / total).toFixed(0).padStart(3)} %`;
  return [
    `${title}: relay ${Math.round(device)}, dataplane ${Math.round(total)} (${(device / total).toFixed(2)} of the rate)`,
    line('reading and writing, as the relay does', device),
    line(`FFI around ${(2 * frames).toFixed(1)} calls`, ffi),
    line(`epoll_wait and clock, ${(of(ours, 'turns') / 2).toFixed(2)} times`, waiting),
    line('pipeline', pipeline),
    line('rest: caches, waits for the processor, what was not measured', total - device - ffi - waiting - pipeline),
    `  in the kernel: relay ${Math.round(of(relay, 'inKernel'))}, dataplane ${Math.round(of(ours, 'inKernel'))}`,
  ];
}
