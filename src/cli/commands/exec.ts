/** `dataplane exec`: runs a command in a container, with its namespaces, root, user and environment. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { STATE_DIR } from '../../cluster/state.ts';
import type { Args, Command } from '../args/args.ts';
import { findPod, POD_OPTIONS, readPodName } from '../args/pod-args.ts';
import { failed, needRoot, SilentExit, usageError } from '../errors.ts';
import { note } from '../output/output.ts';
import { namespaceOf, withClient } from '../with-client.ts';

export const command: Command = {
  usage: ['exec POD [-c CONTAINER] [-it] [-n NAMESPACE] -- COMMAND [ARG…]'],
  about: 'Run a command in a container and exit with its status. The command follows `--`.',
  options: {
    ...POD_OPTIONS,
    stdin: { short: 'i', help: 'pass standard input to the command' },
    tty: { short: 't', help: 'allocate a terminal' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: ['dataplane exec mc3 -c nginx -- cat /etc/nginx/nginx.conf', 'dataplane exec -it client -- sh'],
  run,
};

async function run(args: Args): Promise<void> {
  const name = readPodName('exec', args);
  const program = args.rest ?? [];
  if (program.length === 0)
    throw usageError('dataplane exec: the command is missing', `such as \`dataplane exec ${name} -- ls\``);
  if (args.operands.length > 1)
    throw usageError(`unexpected argument "${args.operands[1]}"`, 'the command follows `--`');
  const namespace = namespaceOf(args);
  needRoot('exec');
  const { container } = await withClient((client) => findPod(client, name, namespace, args.text('container'), true));
  let tty = args.flag('tty');
  if (tty && !process.stdin.isTTY) {
    note('Unable to use a TTY - input is not a terminal');
    tty = false;
  }
  const { execCommand } = await import('../../runtime/container/exec.ts');
  let line: ReturnType<typeof execCommand>;
  try {
    line = execCommand({ stateDir: STATE_DIR, namespace, pod: name, container, command: program, tty });
  } catch (error) {
    throw failed((error as Error).message, `see \`dataplane get pod ${name} -n ${namespace}\``);
  }
  const stdin = args.flag('stdin') || tty ? 'inherit' : 'ignore';
  const child = spawn(line.file, line.args, { stdio: [stdin, 'inherit', 'inherit'] });
  // Ctrl-C is handled by the command, which gets it from the terminal. Other signals are forwarded.
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  const status = await new Promise<number>((resolve, reject) => {
    child.on('error', (error) => reject(failed(`${line.file}: ${error.message}`, 'apt install util-linux')));
    child.on('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
  if (status !== 0) throw new SilentExit(status);
}
