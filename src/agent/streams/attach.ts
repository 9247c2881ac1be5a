/**
 * Attaches a client to a running container: it receives the container's output from now on, read from its log, and if
 * the container has an input (`stdin: true`), the client's input is sent there. Ends with the container.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { badRequest } from '../../api/errors.ts';
import { setTerminalSize } from '../../linux/terminal.ts';
import { readLog } from '../../runtime/container/log-reader.ts';
import { podDirectory } from '../../runtime/container/logs.ts';
import { releaseStdin, stdinPipeOf } from '../../runtime/container/stdin.ts';
import { containerDirectory, type PodState, readState } from '../../runtime/state.ts';
import type { CommandChannels } from './command-channels.ts';

interface Target {
  namespace: string;
  pod: string;
  container: string;
}

/** @throws Error if the container is not running */
export function attachToContainer(
  stateDir: string,
  target: Target,
  state: PodState,
): (channels: CommandChannels, tty: boolean) => Promise<void> {
  const { container } = target;
  const record = state.containers[container];
  if (record?.phase !== 'running') throw badRequest(`container ${container} not found in running state`);
  const podDir = podDirectory(stateDir, target.namespace, target.pod);
  const now = () => readState(podDir)?.containers[container];
  return async (channels, tty) => {
    const ended = () => {
      const present = now();
      return present?.phase !== 'running' || present.instances !== record.instances;
    };
    copyInput(channels, containerDirectory(podDir, container));
    if (tty && record.process !== undefined) followSize(channels, record.process.main.pid);
    await copyLog(stateDir, target, channels, ended);
    const present = now();
    const last = present?.instances === record.instances ? present?.ended : (present?.last ?? present?.ended);
    await channels.finish(channels.gone.aborted ? { exitCode: 0 } : { exitCode: last?.exitCode ?? 0 });
  };
}

async function copyLog(stateDir: string, target: Target, channels: CommandChannels, ended: () => boolean) {
  const output = channels.stdout ?? channels.stderr;
  const log = readLog({ stateDir, ...target }, { follow: true, tailLines: 0 }, ended, channels.gone);
  for await (const piece of log) if (output !== undefined) await written(output, piece);
}

function written(output: Writable, piece: Buffer): Promise<void> {
  return new Promise((resolve) => output.write(piece, () => resolve()));
}

/** Resolves at the end of the client's input; input to a container without stdin is discarded. */
function copyInput({ stdin, gone }: CommandChannels, directory: string): void {
  const path = stdinPipeOf(directory);
  if (stdin === undefined || path === undefined) {
    stdin?.resume();
    return;
  }
  let pipe: Socket;
  try {
    // Not through fs: a container that does not read would block one of libuv's few threads.
    const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    pipe = new Socket({ fd, readable: false, writable: true });
  } catch {
    stdin.resume(); // The other end is closed.
    return;
  }
  pipe.on('error', () => stdin.resume());
  pipe.once('close', () => releaseStdin(directory));
  gone.addEventListener('abort', () => pipe.destroy(), { once: true });
  stdin.pipe(pipe);
}

/** The container's terminal is the first in its devpts. */
function followSize(channels: CommandChannels, mainPid: number): void {
  channels.onResize(({ columns, rows }) => {
    try {
      const terminal = openSync(`/proc/${mainPid}/root/dev/pts/0`, constants.O_RDWR | constants.O_NOCTTY);
      setTerminalSize(terminal, columns, rows);
      closeSync(terminal);
    } catch {
      // The container has ended meanwhile.
    }
  });
}
