import { setFlagsFromString } from 'node:v8';

/**
 * V8's inlining limits, in bytecodes, for a process that forwards packets. The packet path is about 200 calls, which come
 * to more than 10,000 bytecodes when inlined. Three limits apply (V8, src/compiler/js-inlining-heuristic.cc):
 *
 * - "cumulative", 920 by default: beyond it only functions of at most 27 bytecodes, such as the accessors in wire/, are
 *   still inlined. With the default a packet takes 1.2 to 1.8 times as long.
 * - "absolute", 4600 by default: beyond it nothing is inlined, not even accessors. "Cumulative" must therefore stay well
 *   below it: with 5500 under 4600 some accessors become calls, and a packet takes up to 1.2 times as long as with 4000.
 * - "frequency", 0.15 by default: a call made for fewer than 15 % of all packets is not inlined, not even an accessor. What
 *   is done for one packet in eight, such as translating it, then takes up to twice as long.
 *
 * Between 12,000 and 40,000 the first makes no difference (Node 20, 24 and 26; bench/README.md, "Inlining limits"). The
 * packet path takes 0.1 s to compile instead of 0.05 s, in a background thread that needs 25 MB more while it runs.
 */
export const INLINING_FLAGS: readonly string[] = [
  '--max-inlined-bytecode-size-cumulative=16000',
  '--max-inlined-bytecode-size-absolute=32000',
  '--min-inlining-frequency=0.01',
];

/**
 * Raise the limits for this process, for all functions compiled from now on. Before threads that forward are started: V8 takes
 * saved code only from a process with the same flags, and that of the worker is saved with these (scripts/bundle.mjs).
 */
export function raiseInliningLimits(): void {
  for (const flag of INLINING_FLAGS) setFlagsFromString(flag);
}
