/** `dataplane logs`: prints what a container wrote to its standard output and error. */
import { setTimeout as sleep } from 'node:timers/promises';
import { STATE_DIR } from '../../cluster/state.ts';
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import { findPod, POD_OPTIONS, readPodName } from '../args/pod-args.ts';
import { wholeNumber } from '../args/values.ts';
import { failed, needRoot } from '../errors.ts';
import { namespaceOf, withClient } from '../with-client.ts';

const LOOK_MS = 100;

export const command: Command = {
  usage: ['logs POD [-c CONTAINER] [-f] [--tail N] [--previous] [-n NAMESPACE]'],
  about: `Print what a container wrote. With -f, continue until the container has ended for good, the pod is gone, or Ctrl-C.`,
  options: {
    ...POD_OPTIONS,
    follow: { short: 'f', help: 'keep printing new output' },
    tail: { value: 'N', help: 'only the last N lines' },
    previous: { short: 'p', help: 'the log of the previous instance' },
    help: { short: 'h', help: 'show this help' },
  },
  run,
};

async function run(args: Args): Promise<void> {
  operandsAtMost('logs', args, 1);
  const name = readPodName('logs', args);
  const namespace = namespaceOf(args);
  const tail = args.value('tail', wholeNumber(0, 10_000_000, 'lines'));
  const previous = args.flag('previous');
  needRoot('logs');
  const { container } = await withClient((client) => findPod(client, name, namespace, args.text('container'), true));
  const { hasLog, readLog } = await import('../../runtime/container/log-reader.ts');
  const { podDirectory } = await import('../../runtime/container/logs.ts');
  const { readState } = await import('../../runtime/state.ts');
  const place = { stateDir: STATE_DIR, namespace, pod: name, container: container! };
  const recordOf = () => readState(podDirectory(STATE_DIR, namespace, name))?.containers[container!];
  const follow = args.flag('follow') && !previous;
  if (!follow && !hasLog(place, previous)) {
    const what = previous ? 'has no previous instance' : 'has not started yet';
    throw failed(`container ${container} of pod ${name} ${what}`, `see \`dataplane describe pod ${name}\``);
  }
  let tailLines = tail;
  for (let shown = 0; ; ) {
    const instance = recordOf()?.instances ?? 0;
    const endedFor = () => {
      const record = recordOf();
      return record?.instances !== instance || record.phase === 'terminated';
    };
    if (instance !== shown && hasLog(place, previous)) {
      const options = { follow, previous, tailLines };
      for await (const piece of readLog(place, options, endedFor, new AbortController().signal)) await write(piece);
      shown = instance;
      tailLines = undefined; // print all output of later instances
    }
    const record = recordOf();
    if (!follow || record === undefined || (record.phase === 'terminated' && record.instances === shown)) return;
    await sleep(LOOK_MS);
  }
}

async function write(piece: Buffer): Promise<void> {
  if (!process.stdout.write(piece)) await new Promise((resolve) => process.stdout.once('drain', resolve));
}
