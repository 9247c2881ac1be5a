/**
 * Compiles a filter expression (the language of tcpdump, pcap-filter(7)) to a program for filter/run.ts.
 *
 * `and` and `or` are evaluated from left to right and stop as soon as the result is known, in the order in which libpcap
 * evaluates them. The order matters for truncated frames, which a load beyond their end rejects.
 */
import { type Arithmetic, and, type Condition, or } from './condition.ts';
import { FilterError } from './filter-error.ts';
import { parseFilter } from './parse.ts';
import { layersOf, vxlan } from './primitives.ts';
import { INSTRUCTION_WORDS, MAX_INSTRUCTIONS, NO_HEADER, Op, STACK_DEPTH, Word } from './program.ts';

/** A place in the program that is known when everything before it has been emitted. */
interface Label {
  at: number;
}

interface Fields {
  op: Op;
  offset?: number;
  mask?: number;
  value?: number;
  whenTrue?: Label;
  whenFalse?: Label;
  header?: number;
  size?: number;
}

class Emitter {
  private readonly instructions: Fields[] = [];
  private depth = 0;

  add(fields: Fields): void {
    if (this.instructions.length >= MAX_INSTRUCTIONS) {
      throw new FilterError(`the filter is too long: it needs more than ${MAX_INSTRUCTIONS} instructions`);
    }
    this.instructions.push(fields);
  }

  place(label: Label): void {
    label.at = this.instructions.length;
  }

  condition(condition: Condition, whenTrue: Label, whenFalse: Label): void {
    switch (condition.kind) {
      case 'and':
      case 'or': {
        const next: Label = { at: 0 };
        if (condition.kind === 'and') this.condition(condition.left, next, whenFalse);
        else this.condition(condition.left, whenTrue, next);
        this.place(next);
        this.condition(condition.right, whenTrue, whenFalse);
        break;
      }
      case 'not':
        this.condition(condition.of, whenFalse, whenTrue);
        break;
      case 'test': {
        const { field, mask, value, op } = condition;
        this.add({ op, ...field, mask, value, whenTrue, whenFalse });
        break;
      }
      case 'compare':
        this.arithmetic(condition.left);
        this.arithmetic(condition.right);
        this.depth -= 2;
        this.add({ op: condition.op, whenTrue, whenFalse });
    }
  }

  private push(fields: Fields): void {
    if (++this.depth > STACK_DEPTH) throw new FilterError('the filter has arithmetic that is nested too deeply');
    this.add(fields);
  }

  /** Emit code that leaves the expression's value on the stack. */
  private arithmetic(expression: Arithmetic): void {
    switch (expression.kind) {
      case 'number':
        this.push({ op: Op.PUSH, value: expression.value });
        break;
      case 'length':
        this.push({ op: Op.PUSH_LENGTH });
        break;
      case 'load':
        this.arithmetic(expression.index);
        this.add({ op: Op.LOAD, ...expression.base });
        break;
      case 'negate':
        this.arithmetic(expression.of);
        this.add({ op: Op.NEGATE });
        break;
      case 'binary':
        this.arithmetic(expression.left);
        this.arithmetic(expression.right);
        this.depth--;
        this.add({ op: expression.op });
    }
  }

  program(): Int32Array {
    const words = new Int32Array(this.instructions.length * INSTRUCTION_WORDS);
    this.instructions.forEach((fields, i) => {
      const at = i * INSTRUCTION_WORDS;
      words[at + Word.OP] = fields.op;
      words[at + Word.OFFSET] = fields.offset ?? 0;
      words[at + Word.MASK] = fields.mask ?? -1;
      words[at + Word.VALUE] = fields.value ?? 0;
      words[at + Word.TRUE] = fields.whenTrue?.at ?? 0;
      words[at + Word.FALSE] = fields.whenFalse?.at ?? 0;
      words[at + Word.HEADER] = fields.header ?? NO_HEADER;
      words[at + Word.SIZE] = fields.size ?? 0;
    });
    return words;
  }
}

export interface FilterOptions {
  /** UDP port of VXLAN. */
  readonly vxlanPort?: number;
  /** Also match a VXLAN packet whose inner frame matches. */
  readonly inside?: boolean;
}

const DEFAULT_VXLAN_PORT = 4789;

/**
 * The program for an expression; an empty expression matches every frame.
 * @throws FilterError with the position of the mistake
 */
export function compileFilter(text: string, options: FilterOptions = {}): Int32Array {
  const { vxlanPort = DEFAULT_VXLAN_PORT, inside = false } = options;
  let condition = parseFilter(text, vxlanPort, layersOf());
  if (condition !== undefined && inside) {
    const layers = layersOf();
    const outer = vxlan(layers, vxlanPort, undefined);
    condition = or(condition, and(outer, parseFilter(text, vxlanPort, layers) as Condition));
  }
  const emitter = new Emitter();
  const accept: Label = { at: 0 };
  const reject: Label = { at: 0 };
  if (condition !== undefined) emitter.condition(condition, accept, reject);
  emitter.place(accept);
  emitter.add({ op: Op.ACCEPT });
  emitter.place(reject);
  emitter.add({ op: Op.REJECT });
  return emitter.program();
}
