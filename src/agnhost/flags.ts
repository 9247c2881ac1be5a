/** Flags as Go programs with cobra have them: `--name=value`, `--name value`, `--name` for booleans, `-n`. */
import { parseDuration } from './duration.ts';

export class UsageError extends Error {}

interface Flag<T> {
  /** Also the type of the flag: a number is an integer. */
  readonly value: T;
  readonly kind: 'text' | 'integer' | 'boolean' | 'duration';
  readonly short?: string;
}

export const text = (value = '', short?: string): Flag<string> => ({ kind: 'text', value, ...(short && { short }) });
export const integer = (value: number, short?: string): Flag<number> => ({
  kind: 'integer',
  value,
  ...(short && { short }),
});
export const boolean = (value = false): Flag<boolean> => ({ kind: 'boolean', value });
/** In milliseconds. */
export const duration = (value = 0, short?: string): Flag<number> => ({
  kind: 'duration',
  value,
  ...(short && { short }),
});

type Flags = Readonly<Record<string, Flag<string | number | boolean>>>;
export type Values<F extends Flags> = {
  -readonly [K in keyof F]: F[K] extends Flag<infer T> ? (T extends boolean ? boolean : T) : never;
};

/** @throws UsageError with the message of Go's pflag */
export function parseFlags<F extends Flags>(
  flags: F,
  args: readonly string[],
): { values: Values<F>; operands: string[] } {
  const values: Record<string, string | number | boolean> = {};
  for (const [name, { value }] of Object.entries(flags)) values[name] = value;
  const operands: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === '--') {
      operands.push(...args.slice(i + 1));
      break;
    }
    const [, dashes, name = '', given] = /^(--?)([^=]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (dashes === undefined || arg === '-') {
      operands.push(arg);
      continue;
    }
    const found = Object.entries(flags).find(([long, { short }]) => (dashes === '--' ? long : short) === name);
    if (found === undefined) throw new UsageError(`unknown flag: ${dashes}${name}`);
    const [long, { kind }] = found;
    const value = given ?? (kind === 'boolean' ? 'true' : args[++i]);
    if (value === undefined) throw new UsageError(`flag needs an argument: ${dashes}${name}`);
    values[long] = convert(kind, value, `invalid argument ${JSON.stringify(value)} for "--${long}" flag`);
  }
  return { values: values as Values<F>, operands };
}

function convert(kind: Flag<unknown>['kind'], value: string, problem: string): string | number | boolean {
  if (kind === 'text') return value;
  if (kind === 'boolean') {
    if (/^(1|t|true)$/i.test(value)) return true;
    if (/^(0|f|false)$/i.test(value)) return false;
    throw new UsageError(problem);
  }
  const number = kind === 'integer' ? (/^[+-]?\d+$/.test(value) ? Number(value) : undefined) : parseDuration(value);
  if (number === undefined) throw new UsageError(problem);
  return number;
}
