/**
 * How things look: tables as kubectl lays them out, colour and progress only where a terminal is, JSON and YAML of
 * objects in Kubernetes' schema.
 */
import { usageError } from '../errors.ts';

export type Format = 'table' | 'wide' | 'json' | 'yaml' | 'name';

/** `-o`, for commands that print objects. */
export const OUTPUT_OPTION = {
  output: { short: 'o', value: 'FORMAT', help: 'json, yaml, wide or name' },
} as const;

/** Reads `-o`. */
export function formatOf(
  text: string | undefined,
  allowed: readonly Format[] = ['json', 'yaml', 'wide', 'name'],
): Format {
  if (text === undefined) return 'table';
  const found = allowed.find((format) => format === text);
  if (found !== undefined) return found;
  throw usageError(`-o ${text}: expected ${allowed.join(', ').replace(/, ([^,]*)$/, ' or $1')}`);
}

export function print(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

/** A line beside the result: warnings, what is being done. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Columns three blanks apart, no blanks at line ends; kubectl's table printer. */
export function layOut(rows: readonly (readonly string[])[], separator = '   '): string {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows
    .map((row) => row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i]!))).join(separator))
    .map((line) => `${line.trimEnd()}\n`)
    .join('');
}

export async function printObject(object: unknown, format: 'json' | 'yaml'): Promise<void> {
  if (format === 'json') print(JSON.stringify(object, null, 4));
  else print(await toYaml(object));
}

export async function toYaml(object: unknown): Promise<string> {
  const { stringify } = await import('yaml');
  return stringify(object, {
    aliasDuplicateObjects: false,
    indentSeq: false,
    lineWidth: 0,
    sortMapEntries: true,
    version: '1.1',
  });
}

const COLOURS = { red: 31, green: 32, yellow: 33, dim: 2, bold: 1 } as const;

/** Coloured on a terminal that wants it (https://no-color.org), plain elsewhere. */
export function colour(name: keyof typeof COLOURS, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  if (!stream.isTTY || process.env.NO_COLOR || process.env.TERM === 'dumb') return text;
  return `\x1b[${COLOURS[name]}m${text}\x1b[0m`;
}

/** One line that is written over as work goes on; nothing at all when stderr is no terminal. */
export class Progress {
  private current = '';

  show(text: string): void {
    if (!process.stderr.isTTY || text === this.current) return;
    this.current = text;
    process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`);
  }

  clear(): void {
    if (this.current !== '') process.stderr.write('\r\x1b[K');
    this.current = '';
  }
}
