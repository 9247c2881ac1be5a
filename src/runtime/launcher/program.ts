/** The last steps before the container's program is executed: working directory, credentials, the program's path. */
import { accessSync, closeSync, constants, statSync } from 'node:fs';
import { posix } from 'node:path';
import { chdir, cwd } from 'node:process';
import { takeCredentials } from '../../linux/credentials.ts';
import { closeFilesBut, execute } from '../../linux/execute.ts';
import { hasFilter, installFilter, seccompFilter } from '../../linux/seccomp/filter.ts';
import { defaultProfile } from '../../linux/seccomp/profile.ts';
import type { Account } from './account.ts';
import type { LaunchSpec } from './spec.ts';

/** As a shell's `exec`: 127 if there is no such program, 126 if it cannot be executed. */
export class ProgramError extends Error {
  readonly status: 126 | 127;
  constructor(program: string, why: string, status: 126 | 127) {
    super(`exec: "${program}": ${why}`);
    this.status = status;
  }
}

export interface ProgramFacts extends Pick<LaunchSpec, 'workingDir' | 'privileges'> {
  account: Omit<Account, 'home'>;
  environment: readonly string[];
  command: readonly string[];
  /** The last step for which the privileges of root are needed. */
  joinGroups: () => void;
}

/**
 * Become the program. The caller's root must be the container's by now. Does not return.
 * @param kept descriptors that are used until the end; not directories
 * @param onReady called when nothing but execve(2) itself can fail any more
 * @throws Error if it cannot be executed
 */
export function becomeProgram(facts: ProgramFacts, kept: readonly number[], onReady: () => void): never {
  const { workingDir, account, privileges, environment, command, joinGroups } = facts;
  // In this order: a working directory /proc/self/fd/N would lead to the host through a descriptor (CVE-2024-21626).
  closeFilesBut(kept);
  chdir(workingDir);
  if (!cwd().startsWith('/')) throw new Error(`the working directory ${workingDir} is outside of the container`);
  joinGroups();
  if (privileges.filtered) filterCalls(privileges.capabilities);
  takeCredentials({ ...privileges, ...account });
  const path = programPath(command[0]!, environment);
  onReady();
  for (const fd of kept) if (fd === READY_FD) closeSync(fd);
  const why = execute(path, command, environment);
  throw new ProgramError(command[0]!, why.toLowerCase(), 126);
}

/**
 * Install the default profile; what is executed inherits it. Node's other threads are not filtered, but end with execve(2).
 * @throws Error
 */
export function filterCalls(capabilities: readonly string[] | undefined): void {
  if (!hasFilter()) throw new Error(`there is no seccomp profile for ${process.arch}`);
  installFilter(seccompFilter(defaultProfile(capabilities)));
}

/** The descriptor on which the launcher reports to the agent that the container has started (launch.ts). */
export const READY_FD = 3;

/** As execvp(3) finds it, in the container's PATH. @throws ProgramError */
function programPath(program: string, environment: readonly string[]): string {
  if (program.includes('/')) {
    const fault = faultOf(program);
    if (fault !== undefined) throw new ProgramError(program, fault.text, fault.status);
    return program;
  }
  const searched = environment.find((entry) => entry.startsWith('PATH='))?.slice('PATH='.length) ?? '';
  const found = searched
    .split(':')
    .map((directory) => posix.join(directory || '.', program))
    .find((path) => faultOf(path) === undefined);
  if (found === undefined) throw new ProgramError(program, 'executable file not found in $PATH', 127);
  return found.startsWith('/') ? found : `./${found}`;
}

function faultOf(path: string): { text: string; status: 126 | 127 } | undefined {
  try {
    if (!statSync(path).isFile()) return { text: 'is a directory', status: 126 };
    accessSync(path, constants.X_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'EACCES'
      ? { text: 'permission denied', status: 126 }
      : { text: 'no such file or directory', status: 127 };
  }
}
