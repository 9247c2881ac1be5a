/** What is fuzzed: a generator of inputs and the checks on what the code does with them. */
import type { Random } from '../seeded-random.ts';

export interface FuzzTarget {
  readonly name: string;
  /** What one unit is, in the plural: frames, messages. */
  readonly unit: string;
  /**
   * Generate an input from random choices, run it from a fresh state and check the result.
   * @returns how many units it had
   * @throws Error if anything is wrong
   */
  run(random: Random): number | Promise<number>;
}

/** Milliseconds that one input may take before it counts as hanging. */
export const HANG_MS = 20_000;
