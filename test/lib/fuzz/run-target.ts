/** Runs the fuzzing of a target in a thread of its own, and reports an input that hangs. */
import { Worker } from 'node:worker_threads';
import type { Explored } from './explore.ts';
import { COUNT_BYTES, HANG_CPU_MS, HANG_MS } from './target.ts';
import type { ThreadTask } from './thread.ts';

const CHOICES_BYTES = 256 * 1024;
const LOOK_MS = 1000;

/** Processor time of this process, nearly all of it the thread's. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** The choices without the zeros behind them: what is drawn beyond the end of an input is zero anyway. */
function withoutZeros(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return bytes.slice(0, end);
}

export function runTarget(task: Omit<ThreadTask, 'current'>): Promise<Explored> {
  const current = new SharedArrayBuffer(COUNT_BYTES + CHOICES_BYTES);
  const count = new Int32Array(current, 0, 1);
  const worker = new Worker(new URL('./thread.js', import.meta.url), { workerData: { ...task, current } });
  return new Promise((resolve) => {
    let number = 0;
    let since = { cpu: cpuMs(), ms: performance.now() };
    const timer = setInterval(() => {
      const now = { cpu: cpuMs(), ms: performance.now() };
      if (count[0] !== number || number === 0) {
        number = count[0]!;
        since = now;
      } else if (now.cpu - since.cpu > HANG_CPU_MS) fail(`no result after ${HANG_CPU_MS / 1000} s of processor time`);
      else if (now.ms - since.ms > HANG_MS) fail(`no result after ${HANG_MS / 1000} s`);
    }, LOOK_MS);
    const done = (explored: Explored): void => {
      clearInterval(timer);
      void worker.terminate();
      resolve(explored);
    };
    const fail = (message: string): void => {
      const input = withoutZeros(new Uint8Array(current, COUNT_BYTES));
      done({ inputs: count[0]!, units: 0, blocks: 0, corpus: [], failure: { input, message } });
    };
    worker.once('message', done);
    worker.once('error', (error) => fail(error.stack ?? error.message));
    worker.once('exit', (code) => fail(`the thread ended with status ${code}`));
  });
}
