/** The command line that runs something inside a container that is running. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isAlive } from '../../linux/processes.ts';
import { quote } from '../shell.ts';
import { containerDirectory, readState } from '../state.ts';
import { ENVIRONMENT_FILE, privilegeWords } from './launch-script.ts';
import { podDirectory } from './logs.ts';
import { capabilitiesOf, userOf } from './security.ts';

export interface ExecRequest {
  stateDir: string;
  namespace: string;
  pod: string;
  /** Default: the pod's first container. */
  container?: string | undefined;
  command: readonly string[];
  /** Give the command a terminal of its own, inside; the caller's stdio must be one. */
  tty?: boolean;
}

export interface CommandLine {
  file: string;
  args: string[];
}

/**
 * Joins all namespaces of the container, its root, working directory and environment. To be run as root with stdio as
 * wanted; ends with the command's own exit status (128 + signal).
 * @throws Error that says what is missing: the pod, the container, or that it does not run
 */
export function execCommand({ stateDir, namespace, pod, container, command, tty }: ExecRequest): CommandLine {
  const podDir = podDirectory(stateDir, namespace, pod);
  const state = readState(podDir);
  if (state === undefined) throw new Error(`pod "${pod}" in namespace "${namespace}" does not run on this machine`);
  const { containers, initContainers = [] } = state.pod.spec;
  const name = container ?? containers[0]!.name;
  const spec = [...containers, ...initContainers].find((c) => c.name === name);
  if (spec === undefined) {
    throw new Error(`pod "${pod}" has no container "${name}" (it has ${containers.map((c) => c.name).join(', ')})`);
  }
  const main = state.containers[name]?.process?.main;
  if (main === undefined || state.containers[name]?.phase !== 'running' || !isAlive(main)) {
    throw new Error(`container "${name}" of pod "${pod}" is not running`);
  }
  const entry = ['--target', String(main.pid), '--mount', '--uts', '--ipc', '--net', '--pid', '--root', '--wd', '--'];
  const { user, group } = userOf(state.pod, spec);
  const environment = readEnvironment(containerDirectory(podDir, name));
  if (tty && process.env.TERM) environment.push(`TERM=${process.env.TERM}`);
  const words = [
    ...privilegeWords({ user, group, capabilities: capabilitiesOf(spec) }),
    ...['env', '-i', ...environment],
    ...command,
  ];
  // script(1) opens a terminal from the container's own /dev/pts and copies between it and ours.
  const inner = tty ? ['script', '-q', '-e', '-f', '-c', `exec ${words.map(quote).join(' ')}`, '/dev/null'] : words;
  return { file: 'nsenter', args: [...entry, ...inner] };
}

/** What the container was started with. */
function readEnvironment(directory: string): string[] {
  return readFileSync(join(directory, ENVIRONMENT_FILE), 'utf8')
    .split('\0')
    .filter((entry) => entry !== '');
}
