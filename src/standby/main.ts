/**
 * Entry point of the standby: `main.js DIRECTORY`, the node's state directory. Started by the node's agent, in the node's
 * network namespace.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { takeLock } from '../linux/lock-file.ts';
import { raiseInliningLimits } from '../worker/inlining.ts';
import { STANDBY_LOCK } from './find.ts';
import { programText, STANDBY_SOCKET } from './messages.ts';
import { Standby } from './standby.ts';

const directory = process.argv[2] ?? '';
const lock = takeLock(join(directory, STANDBY_LOCK));
if (typeof lock === 'string') {
  process.stderr.write(`a standby is already running (pid ${lock})\n`);
  process.exit(1);
}
raiseInliningLimits();
const socket = join(directory, STANDBY_SOCKET);
rmSync(socket, { force: true });
const standby = new Standby({
  socket,
  program: programText(process.argv[1] ?? ''),
  agentLock: join(directory, 'agent.lock'),
});
standby.serve();
