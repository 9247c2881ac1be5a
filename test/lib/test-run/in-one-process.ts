/**
 * Runs test files one after the other in this process: their paths are lines of standard input. All share the modules of the
 * project that they import, so a test leaves no state in these. Sockets, timers and threads that a file leaves open keep the
 * process from ending, which is reported.
 */
import { createInterface } from 'node:readline';
import { endOfFile } from './file-run.ts';
import { processorMs } from './processor-time.ts';
import { runTests } from './run-tests.ts';

for await (const path of createInterface({ input: process.stdin })) {
  const before = processorMs();
  process.exitCode = 0;
  await runTests(path);
  process.stdout.write(endOfFile(Number(process.exitCode), processorMs() - before));
}
process.exitCode = 0;
