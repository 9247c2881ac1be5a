import { setFlagsFromString } from 'node:v8';

/**
 * How many bytecodes V8 may inline into one function, in this process. Its own limit of 920 ends in the middle of a
 * packet's way: with it a packet takes 1.2 to 1.6 times as long (bench/README.md, "One function").
 */
export function raiseInliningLimit(): void {
  setFlagsFromString('--max-inlined-bytecode-size-cumulative=4000');
}
