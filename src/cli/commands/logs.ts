/** `dataplane logs`: what a container wrote to its standard output and error. */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { STATE_DIR } from '../../cluster/state.ts';
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import { findPod, POD_OPTIONS, readPodName } from '../args/pod-args.ts';
import { wholeNumber } from '../args/values.ts';
import { failed, needRoot } from '../errors.ts';
import { namespaceOf, withClient } from '../with-client.ts';

const LOOK_MS = 100;
const CHUNK_BYTES = 64 * 1024;

export const command: Command = {
  usage: ['logs POD [-c CONTAINER] [-f] [--tail N] [--previous] [-n NAMESPACE]'],
  about: `What a container wrote. With -f it goes on until the container has ended for good, the pod is gone, or Ctrl-C.`,
  options: {
    ...POD_OPTIONS,
    follow: { short: 'f', help: 'go on with what it writes' },
    tail: { value: 'N', help: 'only the last N lines' },
    previous: { short: 'p', help: 'of the instance before the present one' },
    help: { short: 'h', help: 'this text' },
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
  const { logPath, podDirectory } = await import('../../runtime/container/logs.ts');
  const { readState } = await import('../../runtime/state.ts');
  const path = logPath(STATE_DIR, namespace, name, container!, previous);
  const hasEnded = () => {
    const state = readState(podDirectory(STATE_DIR, namespace, name));
    return state === undefined || state.containers[container!]?.phase === 'terminated';
  };
  const follow = args.flag('follow') && !previous;
  let file = openLog(path);
  if (file === undefined && !follow) {
    const what = previous ? 'has no previous instance' : 'has not started yet';
    throw failed(`container ${container} of pod ${name} ${what}`, `see \`dataplane describe pod ${name}\``);
  }
  let at = file === undefined || tail === undefined ? 0 : startOfTail(file, tail);
  for (;;) {
    const over = follow && hasEnded(); // Checked before reading, so that the last lines are not missed.
    if (file !== undefined) at = await copy(file, at);
    if (!follow) break;
    const replaced = file === undefined ? true : isReplaced(file, path);
    if (over && !replaced) break;
    if (replaced) {
      if (file !== undefined) {
        await copy(file, at);
        closeSync(file);
      }
      file = openLog(path);
      at = 0;
      if (file === undefined && over) break;
      if (file !== undefined) continue;
    }
    await sleep(LOOK_MS);
  }
  if (file !== undefined) closeSync(file);
}

function openLog(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Prints from `at` to the end; returns the end. A log that was cut short begins anew. */
async function copy(file: number, at: number): Promise<number> {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  let from = fstatSync(file).size < at ? 0 : at;
  for (;;) {
    const count = readSync(file, chunk, 0, chunk.length, from);
    if (count === 0) return from;
    from += count;
    const room = process.stdout.write(Buffer.from(chunk.subarray(0, count)));
    if (!room) await new Promise((resolve) => process.stdout.once('drain', resolve));
  }
}

/** Has a new instance begun a new file? */
function isReplaced(file: number, path: string): boolean {
  const now = statSync(path, { throwIfNoEntry: false });
  return now?.ino !== fstatSync(file).ino;
}

/** Where the last `lines` lines begin. */
function startOfTail(file: number, lines: number): number {
  const { size } = fstatSync(file);
  if (lines === 0) return size;
  const chunk = Buffer.alloc(CHUNK_BYTES);
  let wanted = lines;
  for (let end = size; end > 0; end -= CHUNK_BYTES) {
    const start = Math.max(0, end - CHUNK_BYTES);
    const count = readSync(file, chunk, 0, end - start, start);
    for (let i = count - 1; i >= 0; i--) {
      const last = start + i === size - 1;
      if (chunk[i] === 0x0a && !last && --wanted <= 0) return start + i + 1;
    }
  }
  return 0;
}
