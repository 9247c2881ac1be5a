/** Removes all pods of this machine without an agent: after `dataplane down`, after any crash. */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readMounts } from '../linux/mountinfo.ts';
import { type ProcessMark, parseStat, signalProcess, waitGone } from '../linux/processes.ts';
import { readIfPresent } from '../linux/read-file.ts';
import { unmountMemory } from './files/memory-volumes.ts';
import { removePodGroups, removeRunGroups } from './pod/groups.ts';
import { cancelSetups, removeSandbox } from './pod/sandbox.ts';
import { podDirectories, readState } from './state.ts';

const GONE_MS = 5_000;

/**
 * Kill every container and pause process recorded under `stateDir` (each only if it is still the recorded process) and
 * any other process in their sandboxes, then remove namespaces and directories. A failure does not stop the removal of
 * other pods.
 * @throws Error that lists everything that could not be removed
 */
export async function cleanupAll(stateDir: string): Promise<void> {
  const problems: string[] = [];
  await Promise.all(
    podDirectories(stateDir).map((directory) =>
      removePodFiles(directory).catch((error: Error) => problems.push(`${directory}: ${error.message.split('\n')[0]}`)),
    ),
  );
  await removeRunGroups(stateDir).catch((error: Error) => problems.push(`control groups: ${error.message}`));
  rmSync(join(stateDir, 'pause'), { force: true });
  if (problems.length > 0) throw new Error(problems.join('; '));
}

/** Remove everything of the pod in this directory: processes, namespace, files. */
export async function removePodFiles(directory: string): Promise<void> {
  const state = readState(directory);
  const marks = [...recordedMarks(join(directory, 'run')), ...(state?.pause === undefined ? [] : [state.pause])];
  for (const mark of marks) signalProcess(mark, 'SIGKILL');
  if (!(await waitGone(marks, GONE_MS))) throw new Error('a process does not end');
  cancelSetups(directory);
  if (state?.netnsName) await removeSandbox(state.netnsName);
  await removePodGroups(directory);
  unmountMemory(join(directory, 'volumes'));
  removeDirectory(directory);
}

/** Delete files, but never through a mount: what is mounted there is not ours. @throws Error naming the mount */
export function removeDirectory(directory: string): void {
  const mount = readMounts().find(({ path }) => path.startsWith(`${directory}/`));
  if (mount !== undefined) throw new Error(`something is mounted at ${mount.path}`);
  rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
}

/** The processes recorded by the containers' scripts. */
function recordedMarks(runDirectory: string): ProcessMark[] {
  if (!existsSync(runDirectory)) return [];
  return readdirSync(runDirectory).flatMap((container) =>
    ['pid', 'keeper'].flatMap((name) => {
      const line = readIfPresent(join(runDirectory, container, name), 'latin1');
      return line === undefined ? [] : (parseStat(line) ?? []);
    }),
  );
}
