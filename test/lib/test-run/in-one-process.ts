/**
 * Runs test files one after the other in this process: their paths are lines of standard input. All share the modules of the
 * project that they import, so a test leaves no state in these. Sockets, timers and threads that a file leaves open are
 * named at the end.
 */
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { endOfFile } from './file-run.ts';
import { processorMs } from './processor-time.ts';

/** uvu runs the tests of its queue when it is asked to, as its own command does it (uvu/run). */
const queue: unknown[][] = [];
Object.assign(globalThis, { UVU_DEFER: 1, UVU_INDEX: 0, UVU_QUEUE: queue });
const { exec } = await import('uvu');

for await (const path of createInterface({ input: process.stdin })) {
  const before = processorMs();
  queue.splice(0, queue.length, [null]);
  process.exitCode = 0;
  try {
    await import(pathToFileURL(path).href);
    await exec();
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  }
  process.stdout.write(endOfFile(Number(process.exitCode), processorMs() - before));
}
process.exitCode = 0;
