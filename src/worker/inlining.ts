import { setFlagsFromString } from 'node:v8';

/**
 * Limit on the bytecodes that V8 inlines into one function, for this process. V8's default of 920 is reached in the
 * middle of the packet path: with it a packet takes 1.2 to 1.6 times as long (bench/README.md, "One function").
 */
export function raiseInliningLimit(): void {
  setFlagsFromString('--max-inlined-bytecode-size-cumulative=4000');
}
