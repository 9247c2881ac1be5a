/**
 * Runs one test file inside its private namespaces (private-world.sh), and then checks what it left: a test that leaves
 * something behind has failed, although it would be removed with the namespaces.
 *
 *   node dist/test/lib/file-in-world.js FILE
 */
import { spawnSync } from 'node:child_process';
import { leftovers } from './cluster.ts';

const { status, signal } = spawnSync(process.execPath, ['--enable-source-maps', process.argv[2] as string], {
  stdio: 'inherit',
});
const left = leftovers();
if (left.length > 0) console.log(`left behind: ${left.join(', ')}`);
process.exitCode = signal !== null || left.length > 0 ? 1 : (status ?? 1);
