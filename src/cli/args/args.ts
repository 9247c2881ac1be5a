/**
 * The command line. Each command declares its options in one table; parsing (node:util parseArgs), `--help` and usage
 * errors follow from it.
 */
import { parseArgs } from 'node:util';
import { nearestWord } from '../../api/nearest-word.ts';
import { CliError, usageError } from '../errors.ts';
import { wrap } from '../output/table.ts';

export interface Option {
  /** Placeholder of the value in the help; without one the option is a flag. */
  value?: string;
  /** The value may be left out: `--wait`, `--wait=SECONDS`. */
  optionalValue?: boolean;
  short?: string;
  /** May be repeated. */
  multiple?: boolean;
  help: string;
}

export type Options = Readonly<Record<string, Option>>;

export interface Command {
  /** What follows `dataplane ` in the usage, one line per form. */
  usage: readonly string[];
  /** Description for `--help`. */
  about: string;
  options: Options;
  examples?: readonly string[];
  run(args: Args): Promise<void>;
}

export interface GivenOption {
  readonly name: string;
  readonly value: string | undefined;
}

/** The parsed arguments of one command. */
export class Args {
  /** Arguments before `--` that are not options. */
  readonly operands: readonly string[];
  /** Arguments after `--`; undefined if there is no `--`. */
  readonly rest: readonly string[] | undefined;
  /** The options as they were given, for those whose order matters. A flag has no value. */
  readonly inOrder: readonly GivenOption[];
  private readonly values: Readonly<Record<string, unknown>>;

  constructor(
    operands: readonly string[],
    rest: readonly string[] | undefined,
    values: Record<string, unknown>,
    inOrder: readonly GivenOption[] = [],
  ) {
    this.operands = operands;
    this.rest = rest;
    this.values = values;
    this.inOrder = inOrder;
  }

  flag(name: string): boolean {
    return this.values[name] === true;
  }

  text(name: string): string | undefined {
    const value = this.values[name];
    return typeof value === 'string' ? value : undefined;
  }

  texts(name: string): readonly string[] {
    const value = this.values[name];
    return Array.isArray(value) ? (value as string[]) : [];
  }

  /** Was the option given? */
  has(name: string): boolean {
    return this.values[name] !== undefined;
  }

  /** The option's value, parsed by `read`, which throws for invalid text; undefined if the option was not given. */
  value<T>(name: string, read: (text: string, option: string) => T): T | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : read(text, `--${name}`);
  }

  /** As `value`, for an option whose value may be left out: undefined, too, if it was. */
  optionalValue<T>(name: string, read: (text: string, option: string) => T): T | undefined {
    return this.text(name) === '' ? undefined : this.value(name, read);
  }
}

/** Parses the arguments after the command's name. @throws CliError with status 2 */
export function parseCommandLine(name: string, command: Pick<Command, 'options'>, argv: readonly string[]): Args {
  const options = Object.fromEntries(
    Object.entries(command.options).map(([option, { value, short, multiple }]) => [
      option,
      {
        type: value === undefined ? ('boolean' as const) : ('string' as const),
        ...(short && { short }),
        ...(multiple && { multiple }),
      },
    ]),
  );
  try {
    const line = joinValues(command.options, argv);
    const { values, tokens } = parseArgs({ args: line, options, allowPositionals: true, tokens: true });
    refuseRepetition(command.options, tokens);
    const terminator = tokens.find((token) => token.kind === 'option-terminator');
    const operands: string[] = [];
    const rest: string[] = [];
    for (const token of tokens) {
      if (token.kind !== 'positional') continue;
      if (terminator !== undefined && token.index > terminator.index) rest.push(token.value);
      else operands.push(token.value);
    }
    const inOrder = tokens.flatMap((token) =>
      token.kind === 'option' ? [{ name: token.name, value: token.value }] : [],
    );
    return new Args(operands, terminator && rest, values, inOrder);
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw translate(name, command.options, error as NodeJS.ErrnoException);
  }
}

/**
 * `--nodes -1` → `--nodes=-1`. parseArgs would treat the argument with a dash as an option and report a missing value;
 * the error of the option's own parser has the value and what is expected. And `--wait` → `--wait=`, because parseArgs has no
 * values that may be left out.
 */
function joinValues(options: Options, argv: readonly string[]): string[] {
  const takesValue = new Map<string, string>();
  const alone = new Set<string>();
  for (const [name, { short, value, optionalValue }] of Object.entries(options)) {
    if (optionalValue) alone.add(`--${name}`);
    if (value === undefined || optionalValue) continue;
    takesValue.set(`--${name}`, name);
    if (short !== undefined) takesValue.set(`-${short}`, name);
  }
  const joined: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--') return [...joined, ...argv.slice(i)];
    const name = takesValue.get(argv[i]!);
    if (alone.has(argv[i]!)) joined.push(`${argv[i]}=`);
    else if (name !== undefined && /^-\d/.test(argv[i + 1] ?? '')) joined.push(`--${name}=${argv[++i]}`);
    else joined.push(argv[i]!);
  }
  return joined;
}

interface Token {
  kind: string;
  name?: string;
  value?: string | undefined;
}

/** Refuses two different values of one option, of which one would be ignored. @throws CliError with both values */
function refuseRepetition(options: Options, tokens: readonly Token[]): void {
  const seen = new Map<string, string>();
  for (const { kind, name = '', value } of tokens) {
    if (kind !== 'option' || value === undefined || options[name]?.multiple) continue;
    const before = seen.get(name);
    if (before !== undefined && before !== value) {
      throw usageError(`--${name} is given twice, as ${before} and as ${value}`, 'give it once');
    }
    seen.set(name, value);
  }
}

function translate(name: string, options: Options, { code, message }: NodeJS.ErrnoException): Error {
  const help = `see \`dataplane ${name} --help\``;
  const quoted = /'([^']*)'/.exec(message)?.[1] ?? '';
  const word = quoted.replace(/^-\w, /, '').split(' ')[0]!;
  if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') {
    const near = nearestWord(
      word.replace(/^-+/, ''),
      Object.keys(options).filter((option) => word.startsWith('--') || option.length === 1),
    );
    return usageError(`dataplane ${name} has no option ${word}`, near === undefined ? help : `did you mean --${near}?`);
  }
  if (code === 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE') {
    const option = options[word.replace(/^--/, '')];
    if (option !== undefined && option.value === undefined) return usageError(`${word} takes no value`, help);
    return usageError(`${word} needs a value${option ? ` (${option.value})` : ''}`, help);
  }
  return usageError(message.split('. ')[0]!, help);
}

/** Width of help in a pipe. On a terminal it is the terminal's width, up to MAX_COLUMNS. */
const DEFAULT_COLUMNS = 80;
const MAX_COLUMNS = 100;
/** The help of an option longer than this is on the next line. */
const MAX_USAGE = 28;

/** The text of `dataplane NAME --help`, in lines that fit the terminal. */
export function printHelp(command: Command, columns: number = process.stdout.columns || DEFAULT_COLUMNS): string {
  const room = Math.min(columns, MAX_COLUMNS);
  const lines = command.usage.map((usage, i) => `${i === 0 ? 'Usage:' : '      '} dataplane ${usage}`);
  lines.push('', ...wrap(command.about.trim().replaceAll('\n', ' '), room));
  const rows = Object.entries(command.options).map(([name, { short, value, optionalValue, help }]) => {
    const usage = `${short ? `-${short}, ` : '    '}--${name}${value ? (optionalValue ? `[=${value}]` : ` ${value}`) : ''}`;
    return [usage, help] as const;
  });
  if (rows.length > 0) {
    const width = Math.min(MAX_USAGE, Math.max(...rows.map(([usage]) => usage.length)));
    lines.push('', 'Options:');
    for (const [usage, help] of rows) {
      const texts = wrap(help, room - width - 4);
      if (usage.length > width) lines.push(`  ${usage}`);
      else lines.push(`  ${usage.padEnd(width)}  ${texts.shift()}`);
      lines.push(...texts.map((line) => `  ${' '.repeat(width)}  ${line}`));
    }
  }
  if (command.examples) lines.push('', 'Examples:', ...command.examples.map((example) => `  ${example}`));
  return `${lines.join('\n')}\n`;
}

/** @throws CliError if there are more than `most` operands */
export function operandsAtMost(name: string, args: Args, most: number): void {
  const extra = args.operands[most];
  if (extra !== undefined) {
    throw usageError(`dataplane ${name}: unexpected argument "${extra}"`, `see \`dataplane ${name} --help\``);
  }
}

/** The operand at `index`. @param what its name in the error message @throws CliError if it is missing */
export function needOperand(name: string, args: Args, index: number, what: string): string {
  const operand = args.operands[index];
  if (operand === undefined) {
    throw usageError(`dataplane ${name}: ${what} is missing`, `see \`dataplane ${name} --help\``);
  }
  return operand;
}

/** The operand as one of the things that a command does. @throws CliError with the nearest of them, or all */
export function readVerb<T extends string>(name: string, given: string, verbs: readonly T[]): T {
  const verb = verbs.find((known) => known === given);
  if (verb !== undefined) return verb;
  const near = nearestWord(given, verbs);
  throw usageError(
    `dataplane ${name}: there is no "${given}"`,
    near === undefined ? `expected one of ${verbs.join(', ')}` : `did you mean ${near}?`,
  );
}
