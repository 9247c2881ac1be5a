/** A thread that fuzzes one target: coverage is counted per thread, and a thread that hangs can be ended. */
import { parentPort, workerData } from 'node:worker_threads';
import { readCorpus } from './corpus.ts';
import { Coverage } from './coverage.ts';
import { explore, smallestCorpus } from './explore.ts';
import { COUNT_BYTES } from './target.ts';
import { loadTarget } from './targets.ts';

/** What the thread is started with. */
export interface ThreadTask {
  readonly target: string;
  readonly seed: number;
  readonly seconds: number;
  readonly withCoverage: boolean;
  /** Keep only the inputs that reach everything. */
  readonly minimiseCorpus: boolean;
  /** The number of the input that is running, and its choices. */
  readonly current: SharedArrayBuffer;
  /** Not 0: end after the current input. */
  readonly stop: Int32Array;
}

const task = workerData as ThreadTask;
const count = new Int32Array(task.current, 0, 1);
const scratch = new Uint8Array(task.current, COUNT_BYTES);

const isTested = (url: string): boolean => /\/dist\/(native-free-dataplane|src)\//.test(url);
const coverage = task.withCoverage ? new Coverage(isTested) : undefined;
const target = await loadTarget(task.target);
const onInput = (): void => {
  Atomics.add(count, 0, 1);
};
const end = performance.now() + task.seconds * 1000;
const explored = await explore({
  target,
  seed: task.seed,
  corpus: readCorpus(task.target),
  coverage,
  isOver: () => performance.now() > end || Atomics.load(task.stop, 0) !== 0,
  onInput,
  scratch,
});
coverage?.close();
if (task.minimiseCorpus && explored.failure === undefined) {
  const again = new Coverage(isTested);
  explored.corpus = await smallestCorpus(target, explored.corpus, again, onInput);
  again.close();
}
parentPort!.postMessage(explored);
