/**
 * Runs one test file, which is already in private namespaces (private-namespaces.sh), and then checks that nothing is
 * left: a test that leaves something behind fails, although it would be removed with the namespaces.
 *
 *   node --enable-source-maps dist/test/lib/test-run/in-namespaces.js FILE
 */
import { leftovers } from '../leftovers.ts';
import { endOfFile } from './file-run.ts';
import { childrenMs, processorMs } from './processor-time.ts';
import { runTests } from './run-tests.ts';

function check(code: number): void {
  const left = leftovers();
  if (left.length > 0) console.log(`left behind: ${left.join(', ')}`);
  const status = left.length > 0 ? 1 : code;
  process.exitCode = status;
  // Process 1 of the namespace has waited for those whose parents ended before them: agents, containers.
  process.stdout.write(endOfFile(status, processorMs() + childrenMs(1)));
}

// A file may end the process itself.
process.on('exit', check);
await runTests(process.argv[2] as string);
// Last, after what the file does at the end of the process, for instance to take down a cluster.
process.off('exit', check).on('exit', check);
