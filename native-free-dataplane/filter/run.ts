/**
 * Evaluates a compiled filter on a frame, inside a worker: no allocation, and nothing outside the frame is read. As in
 * the kernel's BPF (linux net/core/filter.c), a load beyond the end of the frame or a division by zero rejects the
 * frame, also inside a negation.
 */
import { INSTRUCTION_WORDS, NO_HEADER, Op, STACK_DEPTH, Word } from './program.ts';

const stack = new Int32Array(STACK_DEPTH);
/** Result of `field` for a load beyond the end of the frame; fields are unsigned. */
const OUTSIDE = -1;

/** The unsigned field of `size` bytes at `at`, or OUTSIDE. */
function field(view: DataView, at: number, end: number, size: number): number {
  if (at + size > end) return OUTSIDE;
  return size === 1 ? view.getUint8(at) : size === 2 ? view.getUint16(at) : view.getUint32(at);
}

/** Bytes of the IPv4 header at `start + header`, by its length field; OUTSIDE beyond the end of the frame. */
function headerBytes(view: DataView, start: number, end: number, header: number): number {
  if (header === NO_HEADER) return 0;
  const at = start + header;
  return at < end ? (view.getUint8(at) & 0xf) << 2 : OUTSIDE;
}

/**
 * Does the frame match?
 * @param program checked by isProgram
 * @param start,end the frame's bytes [start, end) in `view`
 * @param length the frame's length on the wire; larger than end - start if it was truncated
 */
export function matches(program: Int32Array, view: DataView, start: number, end: number, length: number): boolean {
  let depth = 0;
  for (let at = 0; ; ) {
    const op = program[at + Word.OP];
    if (op <= Op.ACCEPT) return op === Op.ACCEPT;
    if (op <= Op.TEST_AT_LEAST) {
      const shift = headerBytes(view, start, end, program[at + Word.HEADER]);
      if (shift === OUTSIDE) return false;
      const loaded = field(view, start + program[at + Word.OFFSET] + shift, end, program[at + Word.SIZE]);
      if (loaded === OUTSIDE) return false;
      const value = (loaded & program[at + Word.MASK]) >>> 0;
      const wanted = program[at + Word.VALUE] >>> 0;
      const holds = op === Op.TEST_EQUAL ? value === wanted : op === Op.TEST_GREATER ? value > wanted : value >= wanted;
      at = program[at + (holds ? Word.TRUE : Word.FALSE)] * INSTRUCTION_WORDS;
      continue;
    }
    if (op <= Op.AT_LEAST) {
      const right = stack[--depth & (STACK_DEPTH - 1)] >>> 0;
      const left = stack[--depth & (STACK_DEPTH - 1)] >>> 0;
      const holds = op === Op.EQUAL ? left === right : op === Op.GREATER ? left > right : left >= right;
      at = program[at + (holds ? Word.TRUE : Word.FALSE)] * INSTRUCTION_WORDS;
      continue;
    }
    if (op === Op.PUSH) stack[depth++ & (STACK_DEPTH - 1)] = program[at + Word.VALUE];
    else if (op === Op.PUSH_LENGTH) stack[depth++ & (STACK_DEPTH - 1)] = length;
    else if (op === Op.LOAD) {
      const shift = headerBytes(view, start, end, program[at + Word.HEADER]);
      if (shift === OUTSIDE) return false;
      const top = (depth - 1) & (STACK_DEPTH - 1);
      // An index is unsigned: a negative one is beyond the end.
      const index = (stack[top] + shift) >>> 0;
      const loaded = field(view, start + program[at + Word.OFFSET] + index, end, program[at + Word.SIZE]);
      if (loaded === OUTSIDE) return false;
      stack[top] = loaded;
    } else if (op === Op.NEGATE) {
      const top = (depth - 1) & (STACK_DEPTH - 1);
      stack[top] = -stack[top];
    } else {
      const right = stack[--depth & (STACK_DEPTH - 1)];
      const top = (depth - 1) & (STACK_DEPTH - 1);
      if (right === 0 && (op === Op.DIVIDE || op === Op.REMAINDER)) return false;
      stack[top] = combine(op, stack[top], right);
    }
    at += INSTRUCTION_WORDS;
  }
}

/** The result of an operation on two unsigned 32-bit numbers, as int32. */
function combine(op: number, left: number, right: number): number {
  switch (op) {
    case Op.ADD:
      return (left + right) | 0;
    case Op.SUBTRACT:
      return (left - right) | 0;
    case Op.MULTIPLY:
      return Math.imul(left, right);
    case Op.DIVIDE:
      return ((left >>> 0) / (right >>> 0)) | 0;
    case Op.REMAINDER:
      return ((left >>> 0) % (right >>> 0)) | 0;
    case Op.AND:
      return left & right;
    case Op.OR:
      return left | right;
    case Op.XOR:
      return left ^ right;
    case Op.SHIFT_LEFT:
      return right >>> 0 < 32 ? left << right : 0;
    default:
      return right >>> 0 < 32 ? (left >>> right) | 0 : 0;
  }
}
