/** The command line that runs something inside a running container. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { containerNamed } from '../../api/containers.ts';
import { isAlive } from '../../linux/processes.ts';
import { joinFilesOf } from '../pod/groups.ts';
import { containerDirectory, readState } from '../state.ts';
import { accountIn, imageExecCommand } from './image-launch.ts';
import { ENVIRONMENT_FILE, terminalCommand } from './launch-script.ts';
import { confineCommand, joinCommands } from './launcher-command.ts';
import { podDirectory } from './logs.ts';
import { privilegeCommand, privilegesOf } from './security.ts';

export interface ExecRequest {
  stateDir: string;
  namespace: string;
  pod: string;
  /** Default: the pod's first container. */
  container?: string | undefined;
  command: readonly string[];
  /** Give the command a terminal of its own, inside; the caller's stdio must be a terminal. */
  tty?: boolean;
  /** `NAME=value`, in addition to the container's environment. */
  environment?: readonly string[];
}

export interface CommandLine {
  file: string;
  args: string[];
}

export interface ContainerCommand extends CommandLine {
  /** Host pid of the container's first process. */
  mainPid: number;
  /** The user the command runs as. */
  uid: number;
}

/**
 * Joins all namespaces of the container, its root, working directory and environment. To be run as root with the
 * desired stdio; exits with the command's own exit status (128 + signal).
 * @throws Error if the pod or container does not exist, or is not running
 */
export function execCommand(request: ExecRequest): ContainerCommand {
  const { stateDir, namespace, pod, container, command, tty } = request;
  const podDir = podDirectory(stateDir, namespace, pod);
  const state = readState(podDir);
  if (state === undefined) throw new Error(`pod "${pod}" in namespace "${namespace}" does not run on this machine`);
  const { containers } = state.pod.spec;
  const name = container ?? containers[0]!.name;
  const spec = containerNamed(state.pod.spec, name);
  if (spec === undefined) {
    throw new Error(`pod "${pod}" has no container "${name}" (it has ${containers.map((c) => c.name).join(', ')})`);
  }
  const main = state.containers[name]?.process?.main;
  if (main === undefined || state.containers[name]?.phase !== 'running' || !isAlive(main)) {
    throw new Error(`container "${name}" of pod "${pod}" is not running`);
  }
  const directory = containerDirectory(podDir, name);
  const groups = joinFilesOf(state.containers[name]?.group);
  const more = [...(request.environment ?? [])];
  if (tty && process.env.TERM) more.push(`TERM=${process.env.TERM}`);
  if (state.containers[name]?.imageRoot) {
    const line = imageExecCommand(directory, main.pid, command, more, tty === true);
    return { ...line, mainPid: main.pid, uid: accountIn(directory) };
  }
  const entry = [
    '--target',
    String(main.pid),
    ...(groups.length > 0 ? ['--cgroup'] : []),
    '--mount',
    '--uts',
    '--ipc',
    '--net',
    '--pid',
    '--root',
    '--wd',
    '--',
  ];
  const privileges = privilegesOf(state.pod, spec);
  const words = [...privilegeCommand(privileges), 'env', '-i', ...readEnvironment(directory), ...more, ...command];
  const own = tty ? terminalCommand(words) : words;
  const { capabilities, filtered } = privileges;
  const confinement = { capabilities, joins: groups.length > 0, newGroupNamespace: false };
  const inner = filtered ? [...confineCommand(confinement), ...own] : own;
  return {
    ...inGroups(groups, filtered, ['nsenter', ...entry, ...inner]),
    mainPid: main.pid,
    uid: privileges.user ?? 0,
  };
}

/** The command line, in these control groups. */
function inGroups(files: readonly string[], filtered: boolean, words: readonly string[]): CommandLine {
  if (files.length === 0) return { file: words[0]!, args: words.slice(1) };
  const join = joinCommands(files, filtered).join(' && ');
  return { file: 'sh', args: ['-c', `${join} && exec "$@"`, 'sh', ...words] };
}

/** The environment with which the container was started. */
function readEnvironment(directory: string): string[] {
  return readFileSync(join(directory, ENVIRONMENT_FILE), 'utf8')
    .split('\0')
    .filter((entry) => entry !== '');
}
