/**
 * Starts a container from an image, as process 1 of its PID namespace: it builds the root, enters it, and becomes the
 * container's program. It writes the same files as the script that starts programs of the host (launch-script.ts): `pid`,
 * `started`, `error`; and `environment` and the account, for programs that are run in the container later.
 */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { newCgroupNamespace } from '../../linux/cgroup/namespace.ts';
import { hideFromOthers } from '../../linux/credentials.ts';
import { leave } from '../../linux/execute.ts';
import { accountOf, withHome } from './account.ts';
import { joinGroups, openGroups } from './groups.ts';
import { becomeProgram, ProgramError, READY_FD } from './program.ts';
import { enterRoot } from './root.ts';
import { ACCOUNT_FILE, type LaunchSpec, SPEC_FILE } from './spec.ts';

const MAX_ACCOUNTS_BYTES = 1 << 20;
const START_ERROR = 128;

/** @param directory of the container */
export function start(directory: string): never {
  process.umask(0o022);
  const create = (name: string): number => openSync(join(directory, name), 'w', 0o600);
  const started = create('started');
  const error = create('error');
  try {
    writeFileSync(join(directory, 'pid'), readFileSync('/proc/self/stat', 'latin1'));
    hideFromOthers();
    const spec = JSON.parse(readFileSync(join(directory, SPEC_FILE), 'utf8')) as LaunchSpec;
    setOomScore(spec.oomScore);
    const groups = openGroups(spec.groups);
    const accountFile = create(ACCOUNT_FILE);
    const environmentFile = create('environment');
    enterRoot(join(directory, 'root'), spec);
    const account = accountOf(
      { ...spec.privileges, imageUser: spec.imageUser },
      readSmallFile('/etc/passwd'),
      readSmallFile('/etc/group'),
    );
    const environment = withHome(spec.environment, account);
    writeSync(accountFile, JSON.stringify(account));
    writeSync(environmentFile, environment.map((entry) => `${entry}\0`).join(''));
    const enter = (): void => {
      joinGroups(groups);
      if (groups.length > 0) newCgroupNamespace();
    };
    const kept = [READY_FD, started, error, ...groups];
    becomeProgram({ ...spec, account, environment, joinGroups: enter }, kept, () => {
      writeSync(started, 'started\n');
      writeReady();
    });
  } catch (fault) {
    const text = `${(fault as Error).message}\n`;
    ftruncateSync(started);
    writeSync(error, text);
    if (fault instanceof ProgramError && fault.status === 126) writeSync(2, text);
    leave(START_ERROR);
  }
}

/** A machine may forbid to lower it (CAP_SYS_RESOURCE): the container runs all the same. */
function setOomScore(score: number): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', String(score));
  } catch {
    // It keeps that of the agent.
  }
}

/** Nobody may be reading: an agent that was killed meanwhile. */
function writeReady(): void {
  try {
    writeSync(READY_FD, 'started\n');
  } catch {
    // The container is found by its files.
  }
}

/** Text of a file of the container's; empty if there is none. It may be anything: a pipe, a device, huge. */
function readSmallFile(path: string): string {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch {
    return '';
  }
  try {
    if (!fstatSync(fd).isFile()) return '';
    const bytes = Buffer.alloc(Math.min(fstatSync(fd).size, MAX_ACCOUNTS_BYTES));
    return bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, 0));
  } finally {
    closeSync(fd);
  }
}
