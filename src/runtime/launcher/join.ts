/**
 * Runs another program in a container that was started from an image. The caller (exec.ts) has put this process into
 * the container's PID, network, UTS and IPC namespaces; the mount namespace is entered here, because nothing of the host
 * can be loaded from inside.
 */
import { readFileSync, writeSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { enterCgroupNamespace } from '../../linux/cgroup/namespace.ts';
import { hideFromOthers } from '../../linux/credentials.ts';
import { leave } from '../../linux/execute.ts';
import { enterMounts } from '../../linux/mounts.ts';
import type { Account } from './account.ts';
import { joinGroups, openGroups } from './groups.ts';
import { becomeProgram, ProgramError } from './program.ts';
import { ACCOUNT_FILE, type LaunchSpec, SPEC_FILE } from './spec.ts';

/**
 * @param directory of the container
 * @param mainPid its first process, by the host's pid
 * @param more `NAME=value`, in addition to the container's environment
 */
export function join(directory: string, mainPid: number, more: readonly string[], command: readonly string[]): never {
  try {
    process.umask(0o022);
    // Before the container's processes can see this one do anything.
    hideFromOthers();
    const read = (name: string): string => readFileSync(joinPath(directory, name), 'utf8');
    const spec = JSON.parse(read(SPEC_FILE)) as LaunchSpec;
    const account = JSON.parse(read(ACCOUNT_FILE)) as Account;
    const environment = [...read('environment').split('\0').filter(Boolean), ...more];
    const groups = openGroups(spec.groups);
    if (groups.length > 0) enterCgroupNamespace(`/proc/${mainPid}/ns/cgroup`);
    enterMounts(`/proc/${mainPid}/ns/mnt`);
    const enter = (): void => joinGroups(groups);
    becomeProgram({ ...spec, account, environment, command, joinGroups: enter }, groups, () => {});
  } catch (fault) {
    writeSync(2, `${(fault as Error).message}\n`);
    leave(fault instanceof ProgramError ? fault.status : 126);
  }
}
