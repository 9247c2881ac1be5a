/**
 * Runs a program of the host in a container whose system calls are filtered. The script that starts such containers can
 * do everything else by programs of the host, but util-linux installs no filters before 2.41 (setpriv --seccomp-filter).
 */
import { writeSync } from 'node:fs';
import { newCgroupNamespace } from '../../linux/cgroup/namespace.ts';
import { execute, leave } from '../../linux/execute.ts';
import { findProgram } from '../../linux/find-program.ts';
import { joinGroups } from './groups.ts';
import { filterCalls } from './program.ts';

/** Descriptor of the last control group to join: what Node needs until then does not count against its limit. */
export const GROUP_FD = 4;

export interface Confinement {
  /** Without `cap_`; undefined: all. */
  capabilities: readonly string[] | undefined;
  /** Is GROUP_FD open? */
  joins: boolean;
  /** In a namespace whose root are the groups that it is in then. */
  newGroupNamespace: boolean;
}

/** @param confinement as JSON; @param command the program may be one on PATH */
export function confine(confinement: string, command: readonly string[]): never {
  try {
    const { capabilities, joins, newGroupNamespace } = JSON.parse(confinement) as Confinement;
    const program = command[0]!;
    const path = program.includes('/') ? program : findProgram(program);
    if (path === undefined) throw new Error(`there is no ${program} on PATH`);
    if (joins) joinGroups([GROUP_FD]);
    if (newGroupNamespace) newCgroupNamespace();
    filterCalls(capabilities);
    throw new Error(execute(path, command, environmentOfThis()));
  } catch (fault) {
    writeSync(2, `${(fault as Error).message}\n`);
    leave(126);
  }
}

const environmentOfThis = (): string[] => Object.entries(process.env).map(([name, value = '']) => `${name}=${value}`);
