/** What a process does at a signal while its JavaScript is in a system call: Node's own handlers do not run then. */
import { constants } from 'node:os';
import koffi from 'koffi';

const SIG_DFL = 0;
const SIG_IGN = 1;

const signal = koffi.load('libc.so.6').func('intptr_t signal(int number, intptr_t handler)') as (
  number: number,
  handler: number,
) => number;

/** Ignore SIGTERM and SIGINT, or end at them again. */
export function ignoreTermination(ignore: boolean): void {
  for (const number of [constants.signals.SIGTERM, constants.signals.SIGINT])
    signal(number, ignore ? SIG_IGN : SIG_DFL);
}
