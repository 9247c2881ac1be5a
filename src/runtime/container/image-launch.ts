/**
 * Starting a container from an image, and running a command in it. Unlike the script of launch-script.ts, nothing of the
 * host may be executed once the image is the root: an image need not have the libraries, and could replace them
 * (CVE-2019-14271). So a program that is loaded before does everything by system calls: src/runtime/launcher.
 *
 * The keeper is the same: a shell that waits for the container and writes its exit status. It also makes Node's own file
 * read-only, in a mount namespace that only the launcher sees: an image whose entry point is `#!/proc/self/exe` runs the
 * host's Node inside the container, and could otherwise overwrite it (CVE-2019-5736).
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ACCOUNT_FILE, SPEC_FILE } from '../launcher/spec.ts';
import { quote } from '../shell.ts';
import { enterProcesses, type LaunchPlan, SCRIPT_FILE, terminalCommand } from './launch-script.ts';
import { launchSpec } from './launch-spec.ts';
import { LAUNCHER_COMMAND } from './launcher-command.ts';

const NODE = quote(process.execPath);
const READ_ONLY_NODE = `mount -n --bind ${NODE} ${NODE} && mount -n -o remount,bind,ro ${NODE}`;

/** Files the keeper and the launcher expect in the container's directory. */
export function imageLaunchFiles(plan: LaunchPlan): Record<string, string> {
  return { [SCRIPT_FILE]: keeperScript(plan), [SPEC_FILE]: JSON.stringify(launchSpec(plan)) };
}

/** The first program that is executed in a new PID namespace is process 1: the mounts come before. */
function keeperScript({ title, directory, tty, processesOf }: LaunchPlan): string {
  const start = [...LAUNCHER_COMMAND, 'start', directory];
  // A devpts for this container alone: script(1) opens its terminal there, and the container has it as /dev/pts.
  const terminals = [
    'mount -n -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5 devpts /dev/pts',
    'mount -n --bind /dev/pts/ptmx /dev/ptmx',
  ];
  return `#!/bin/sh
# ${title}
D=${quote(directory)}
if [ $# = 0 ]; then
  { ${[READ_ONLY_NODE, ...(tty ? terminals : [])].join(' && ')}; } 2>"$D/error" || exit
  exec ${enterProcesses(processesOf).join(' ')} sh "$0" keeper
fi
exec 7>&2 2>/dev/null 9>"$D/exit"
read -r stat < /proc/self/stat
echo "$stat" > "$D/keeper"
(exec ${(tty ? terminalCommand(start) : start).map(quote).join(' ')} 2>&7 7>&- 9>&-)
echo $? >&9
`;
}

/**
 * Runs a command in the container. Node is read-only for it too, in a mount namespace of its own. A terminal is one of the
 * host's: the command can use it, but not find it under /dev/pts.
 * @param directory of the container; @param more `NAME=value`, in addition to its environment
 */
export function imageExecCommand(
  directory: string,
  mainPid: number,
  command: readonly string[],
  more: readonly string[],
  tty: boolean,
): { file: string; args: string[] } {
  const join = [...LAUNCHER_COMMAND, 'join', directory, String(mainPid), ...more, '--', ...command];
  const enter = ['nsenter', '--target', String(mainPid), '--pid', '--net', '--uts', '--ipc', '--', ...join];
  const words = tty ? terminalCommand(enter) : enter;
  const script = `${READ_ONLY_NODE} && exec "$@"`;
  return { file: 'unshare', args: ['--mount', '--propagation', 'private', '--', 'sh', '-c', script, 'sh', ...words] };
}

/** The user that the container runs as, once it has been started. */
export function accountIn(directory: string): number {
  return (JSON.parse(readFileSync(join(directory, ACCOUNT_FILE), 'utf8')) as { uid: number }).uid;
}
