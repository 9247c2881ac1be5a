/**
 * Output other than tables: objects as JSON and YAML, notes on stderr, and progress on a terminal.
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

/**
 * A process that serves others does not end because its log cannot be written: on a full disk, or with nobody left to read
 * it. Node.js raises that as an error that nobody catches.
 */
export function outliveLog(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
}

/** Prints a line on stderr: a warning, or progress. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
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

/** A progress line that is overwritten; nothing is printed unless stderr is a terminal. */
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
