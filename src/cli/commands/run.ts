/**
 * `dataplane run`: runs a program of this host in a network namespace of the cluster, such as a test suite as a client.
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import type { Place } from '../../cluster/network-namespaces.ts';
import { STATE_DIR } from '../../cluster/state.ts';
import type { Args, Command } from '../args/args.ts';
import { needNetworkNamespace, readPlace } from '../args/place.ts';
import { failed, needRoot, SilentExit, usageError } from '../errors.ts';
import { type JUnitCase, junitReport } from '../output/junit.ts';
import { NAMESPACE_OPTION, namespaceOf } from '../with-client.ts';

export const command: Command = {
  usage: ['run [--from outside|node/NAME|pod/NAME] [-n NAMESPACE] [--junit FILE] -- COMMAND [ARG…]'],
  about: `Run a program of this host inside a network namespace of the cluster, and exit with its status. Files, user,
environment and processes are the host's; only the network is that of the place: outside of the cluster (the default), a node,
or a pod. From a pod, names are resolved as the pod resolves them. The program follows \`--\`.`,
  options: {
    from: { value: 'PLACE', help: 'outside (default), node/NAME or pod/NAME' },
    junit: { value: 'FILE', help: 'also write the outcome to FILE, as a JUnit report with one test case' },
    ...NAMESPACE_OPTION,
    help: { short: 'h', help: 'show this help' },
  },
  examples: [
    'dataplane run -- curl -s http://172.18.0.11:31418/',
    'dataplane run --from pod/client -- curl -s http://web/',
    'dataplane run --junit report.xml -- npm test',
  ],
  run,
};

/** Mounts $1 over /etc/resolv.conf, only for this program, and executes the other arguments. */
const WITH_NAMES = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"';

async function run(args: Args): Promise<void> {
  const program = args.rest ?? [];
  if (args.operands.length > 0)
    throw usageError(`dataplane run: unexpected argument "${args.operands[0]}"`, 'the program follows `--`');
  if (program.length === 0)
    throw usageError(
      'dataplane run: the program is missing',
      'such as `dataplane run -- curl http://172.18.0.11:31418/`',
    );
  const place = readPlace(args.text('from') ?? 'outside', '--from', namespaceOf(args));
  needRoot('run');
  const path = needNetworkNamespace(place);
  const names = await resolvConfOf(place);
  const inside =
    names === undefined
      ? program
      : ['unshare', '--mount', '--propagation', 'slave', 'sh', '-c', WITH_NAMES, 'dataplane-run', names, ...program];

  const startedMs = performance.now();
  const child = spawn('nsenter', [`--net=${path}`, '--', ...inside], { stdio: 'inherit' });
  // The program gets Ctrl-C from the terminal. Other signals are forwarded.
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  const status = await new Promise<number>((resolve, reject) => {
    child.on('error', (error) => reject(failed(`nsenter: ${error.message}`, 'apt install util-linux')));
    child.on('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
  const file = args.text('junit');
  if (file !== undefined)
    writeReport(file, {
      name: program.join(' '),
      suite: `dataplane run --from ${args.text('from') ?? 'outside'}`,
      seconds: (performance.now() - startedMs) / 1000,
      failure: status === 0 ? undefined : `exit status ${status}`,
    });
  if (status !== 0) throw new SilentExit(status);
}

/** The resolv.conf of a pod's first container; undefined for other places. */
async function resolvConfOf(place: Place): Promise<string | undefined> {
  if (place.kind !== 'pod') return undefined;
  const { resolvConfPath } = await import('../../runtime/container/resolv-conf.ts');
  return resolvConfPath(STATE_DIR, place.namespace, place.name);
}

function writeReport(file: string, outcome: JUnitCase): void {
  try {
    writeFileSync(file, junitReport(outcome));
  } catch (error) {
    throw failed(`--junit ${file}: ${(error as Error).message}`, 'the program itself was run');
  }
}
