/** Which threads count as hung: judged on real threads, as the watchdog of the workers does. */
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { HangDetector, LOOK_MS } from '../../../src/agent/hang-detector.ts';
import { threadId } from '../../../src/linux/ffi.ts';

/** Words that the thread and the test share. */
const TURNS = 0;
const GATE = 1;

/** What the thread does: loops without completing a turn; works turn by turn; waits where it should not. */
type Conduct = 'loops' | 'works' | 'waits';

interface Subject {
  readonly words: Int32Array;
  readonly thread: number;
  readonly worker: Worker;
}

async function start(conduct: Conduct): Promise<Subject> {
  const memory = new SharedArrayBuffer(8);
  const worker = new Worker(new URL(import.meta.url), { workerData: { memory, conduct } });
  const thread = await new Promise<number>((resolve) => worker.once('message', resolve));
  return { words: new Int32Array(memory), thread, worker };
}

/** Looks at the thread for `ms`. @returns why it counts as hung */
async function watch({ words, thread }: Subject, ms: number, sleeping = false): Promise<string | undefined> {
  const detector = new HangDetector();
  let why: string | undefined;
  for (let passed = 0; passed < ms && why === undefined; passed += LOOK_MS) {
    why = detector.look({ thread, turns: Atomics.load(words, TURNS), sleeping });
    await sleep(LOOK_MS);
  }
  detector.close();
  return why;
}

if (isMainThread) {
  test('a thread that loops without completing a turn hangs, by the processor time that it uses', async () => {
    const subject = await start('loops');
    assert.match((await watch(subject, 10_000)) ?? '', /^has used \d+ ms of processor time in one turn$/);
    await subject.worker.terminate();
  });

  test('a thread that completes turns does not hang, however busy it is', async () => {
    const subject = await start('works');
    assert.is(await watch(subject, 1000), undefined);
    await subject.worker.terminate();
  });

  test('a thread that waits in a system call hangs, unless it is waiting for frames', async () => {
    const subject = await start('waits');
    assert.is(await watch(subject, 1000, true), undefined);
    assert.is(await watch(subject, 5000), 'is blocked in a system call');
    Atomics.notify(subject.words, GATE);
    await subject.worker.terminate();
  });

  test('a thread that waits for frames wakes up every second: one that does not in three hangs', async () => {
    const subject = await start('waits');
    assert.is(await watch(subject, 10_000, true), 'does not wake up');
    Atomics.notify(subject.words, GATE);
    await subject.worker.terminate();
  });

  test('a thread that has not started does not hang', async () => {
    const detector = new HangDetector();
    for (let i = 0; i < 100; i++) assert.is(detector.look({ thread: 0, turns: 0, sleeping: false }), undefined);
  });

  test.run();
} else {
  const { memory, conduct } = workerData as { memory: SharedArrayBuffer; conduct: Conduct };
  const words = new Int32Array(memory);
  parentPort?.postMessage(threadId());
  if (conduct === 'waits') Atomics.wait(words, GATE, 0);
  while (conduct === 'works') Atomics.add(words, TURNS, 1);
  while (conduct === 'loops');
}
