/** Finds the standby of a node by the files in the node's state directory, without its help. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandLine, findProcess, type ProcessMark } from '../linux/processes.ts';

/** The file that the standby holds locked, with its pid. */
export const STANDBY_LOCK = 'standby.lock';

/** The control group, on the machine, of a standby that outlives its container. */
export const STANDBY_GROUP = 'dataplane-standby';

/** The standby that was started for this directory, if its process is running. */
export function findStandby(directory: string): ProcessMark | undefined {
  try {
    const pid = Number(readFileSync(join(directory, STANDBY_LOCK), 'utf8'));
    // The pid may have been given to another process since.
    const [program = '', argument] = commandLine(pid).slice(-3);
    return program.endsWith('/standby/main.js') && argument === directory ? findProcess(pid) : undefined;
  } catch {
    return undefined;
  }
}
