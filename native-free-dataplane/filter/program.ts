/**
 * A compiled filter: instructions of eight words each in one Int32Array, so that it can be handed to a worker in shared
 * memory. The first instruction is where evaluation starts. Jumps only lead forward, which bounds the time of an
 * evaluation by the number of instructions.
 *
 *   word   0    1       2     3      4     5      6
 *          op   offset  mask  value  true  false  header
 *
 * A test loads `size` bytes at `offset`, and jumps to `true` or `false` (numbers of instructions). If `header` is not
 * -1, it is the offset of an IPv4 header whose length is added to `offset`. Arithmetic uses a stack: `value` is a
 * number to push, and a load takes its index from the stack.
 */

export const Op = {
  REJECT: 0,
  ACCEPT: 1,
  /** Compare the masked field at `offset` with `value`: equal, greater, greater or equal (unsigned). */
  TEST_EQUAL: 2,
  TEST_GREATER: 3,
  TEST_AT_LEAST: 4,
  /** Pop two numbers, compare them as the tests do, and jump. */
  EQUAL: 5,
  GREATER: 6,
  AT_LEAST: 7,
  PUSH: 8,
  PUSH_LENGTH: 9,
  /** Replace the number on the stack by the field at that index. */
  LOAD: 10,
  ADD: 11,
  SUBTRACT: 12,
  MULTIPLY: 13,
  DIVIDE: 14,
  REMAINDER: 15,
  AND: 16,
  OR: 17,
  XOR: 18,
  SHIFT_LEFT: 19,
  SHIFT_RIGHT: 20,
  NEGATE: 21,
} as const;
export type Op = (typeof Op)[keyof typeof Op];

export const Word = { OP: 0, OFFSET: 1, MASK: 2, VALUE: 3, TRUE: 4, FALSE: 5, HEADER: 6, SIZE: 7 } as const;
export const INSTRUCTION_WORDS = 8;
/** Enough for some forty hosts and ports; bounds the time that a filter takes of a worker. */
export const MAX_INSTRUCTIONS = 1024;
/** Numbers on the stack; a power of two. */
export const STACK_DEPTH = 16;
/** Value of Word.HEADER for a fixed offset. */
export const NO_HEADER: number = -1;

/** May a worker run this program? It is finite: known operations, and every jump leads forward inside the program. */
export function isProgram(program: Int32Array): boolean {
  const count = program.length / INSTRUCTION_WORDS;
  if (!Number.isInteger(count) || count < 1 || count > MAX_INSTRUCTIONS) return false;
  for (let i = 0; i < count; i++) {
    const at = i * INSTRUCTION_WORDS;
    const op = program[at + Word.OP];
    if (op < Op.REJECT || op > Op.NEGATE) return false;
    if (op === Op.REJECT || op === Op.ACCEPT) continue;
    const jumps = op >= Op.TEST_EQUAL && op <= Op.AT_LEAST;
    const targets = jumps ? [program[at + Word.TRUE], program[at + Word.FALSE]] : [i + 1];
    if (targets.some((target) => target <= i || target >= count)) return false;
  }
  return true;
}
