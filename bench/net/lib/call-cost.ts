/** What calls of the C library cost from C and through FFI, nanoseconds each (call-cost.c). */
import { openSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { Epoll } from '../../../src/linux/epoll.ts';
import { clockGetTime, mapPrivate, read, write } from '../../../src/linux/ffi.ts';
import { run } from './processes.ts';
import { compiled } from './tools.ts';

export interface CallCost {
  readonly read: number;
  readonly write: number;
  readonly epoll: number;
  readonly clock: number;
}

const CALLS = 200_000;
const ROUNDS = 15;
const CLOCK_MONOTONIC = 1;

/** From C, in a process with one thread. */
export function costInC(): CallCost {
  return JSON.parse(run([compiled('call-cost')])) as CallCost;
}

/** Through FFI, in a process with several threads, as a worker's is: libc then makes its calls points of cancellation. */
export async function costThroughFfi(): Promise<CallCost> {
  const thread = new Worker('setInterval(() => {}, 1e6)', { eval: true });
  const [zero, sink] = [openSync('/dev/zero', 'r'), openSync('/dev/null', 'w')];
  const { address } = mapPrivate(4096);
  const epoll = new Epoll(1);
  try {
    return {
      read: timeOf(() => read(zero, address, 64)),
      write: timeOf(() => write(sink, address, 64)),
      epoll: timeOf(() => epoll.wait(0)),
      clock: timeOf(() => clockGetTime(CLOCK_MONOTONIC, address)),
    };
  } finally {
    epoll.close();
    await thread.terminate();
  }
}

/** The best of several rounds: other load on the machine can only slow one down. */
function timeOf(call: () => unknown): number {
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = process.hrtime.bigint();
    for (let i = 0; i < CALLS; i++) call();
    best = Math.min(best, Number(process.hrtime.bigint() - begin) / CALLS);
  }
  return best;
}
