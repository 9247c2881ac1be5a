/** What is fuzzed: a generator of inputs and the checks on what the code does with them. */
import type { Random } from '../seeded-random.ts';

export interface FuzzTarget {
  readonly name: string;
  /** What one unit is, in the plural: frames, messages. */
  readonly unit: string;
  /** Run without coverage, which would take most of the time. */
  readonly atFullSpeed?: true;
  /**
   * Generate an input from random choices, run it from a fresh state and check the result.
   * @returns how many units it had
   * @throws Error if anything is wrong
   */
  run(random: Random): number | Promise<number>;
}

/** Milliseconds of processor time that one input may use before it counts as hanging: the machine may be busy. */
export const HANG_CPU_MS = 20_000;
/** The same in real time, for an input that waits for something. */
export const HANG_MS = 600_000;
/** Bytes in front of the choices in the memory that a fuzzing thread shares. */
export const COUNT_BYTES = 4;
