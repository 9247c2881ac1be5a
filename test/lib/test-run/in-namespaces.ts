/**
 * Runs one test file, which is already in private namespaces (private-namespaces.sh), and then checks that nothing is
 * left: a test that leaves something behind fails, although it would be removed with the namespaces.
 *
 *   node dist/test/lib/test-run/in-namespaces.js FILE
 */
import { spawnSync } from 'node:child_process';
import { leftovers } from '../leftovers.ts';
import { endOfFile } from './file-run.ts';
import { childrenMs, processorMs } from './processor-time.ts';

const { status, signal } = spawnSync(process.execPath, ['--enable-source-maps', process.argv[2] as string], {
  stdio: 'inherit',
});
const left = leftovers();
if (left.length > 0) console.log(`left behind: ${left.join(', ')}`);
process.exitCode = signal !== null || left.length > 0 ? 1 : (status ?? 1);
// Process 1 of the namespace has waited for those whose parents ended before them: agents, containers.
process.stdout.write(endOfFile(process.exitCode, processorMs() + childrenMs(1)));
