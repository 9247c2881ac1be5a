/** Runs the fuzzing of a target in a thread of its own, and reports an input that hangs. */
import { Worker } from 'node:worker_threads';
import type { Explored } from './explore.ts';
import { HANG_MS } from './target.ts';
import type { ThreadTask } from './thread.ts';

const CURRENT_BYTES = 8 + 65_536;
const LOOK_MS = 1000;

export function runTarget(task: Omit<ThreadTask, 'current'>): Promise<Explored> {
  const current = new SharedArrayBuffer(CURRENT_BYTES);
  const words = new Int32Array(current, 0, 2);
  const inputNow = (): Uint8Array => new Uint8Array(current, 8, words[1]).slice();
  const worker = new Worker(new URL('./thread.js', import.meta.url), { workerData: { ...task, current } });
  return new Promise((resolve) => {
    let number = 0;
    let since = performance.now();
    const timer = setInterval(() => {
      if (words[0] !== number) {
        number = words[0]!;
        since = performance.now();
      } else if (number > 0 && performance.now() - since > HANG_MS) fail(`no result after ${HANG_MS / 1000} s`);
    }, LOOK_MS);
    const done = (explored: Explored): void => {
      clearInterval(timer);
      void worker.terminate();
      resolve(explored);
    };
    const fail = (message: string): void =>
      done({ inputs: words[0]!, units: 0, blocks: 0, corpus: [], failure: { input: inputNow(), message } });
    worker.once('message', done);
    worker.once('error', (error) => fail(error.stack ?? error.message));
    worker.once('exit', (code) => fail(`the thread ended with status ${code}`));
  });
}
