/**
 * The commands of a document and their output: blocks marked as `console`, in which a line that begins with `$ ` is a command
 * (with a here-document, if it has one), and the lines after it are its output. `[…]` stands for any lines.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MAIN, run } from './cluster.ts';

export interface ShownCommand {
  readonly command: string;
  /** As the document has it. */
  readonly output: string;
}

const BLOCK = /^```console\n([\s\S]*?)^```$/gm;

export const commandsOf = (document: string): ShownCommand[] =>
  [...document.matchAll(BLOCK)].flatMap(([, block = '']) => commandsIn(block));

function commandsIn(block: string): ShownCommand[] {
  const commands: { command: string; output: string }[] = [];
  let end: string | undefined;
  for (const line of block.trimEnd().split('\n')) {
    const last = commands.at(-1);
    if (end !== undefined && last !== undefined) {
      last.command += `\n${line}`;
      if (line === end) end = undefined;
    } else if (line.startsWith('$ ')) {
      commands.push({ command: line.slice(2), output: '' });
      end = /<<'?(\w+)'?/.exec(line)?.[1];
    } else if (last !== undefined) last.output += `${line}\n`;
  }
  return commands;
}

/** The document with the given outputs, in the order of its commands. A block in which `[…]` leaves lines out is kept. */
export function withOutputs(document: string, outputs: readonly string[]): string {
  let next = 0;
  return document.replace(BLOCK, (whole, block: string) => {
    const commands = commandsIn(block);
    const own = outputs.slice(next, next + commands.length);
    next += commands.length;
    if (block.includes('[…]')) return whole;
    const texts = commands.map(({ command }, i) => `$ ${command}\n${own[i]!.trimEnd()}`.trimEnd());
    return `\`\`\`console\n${texts.join('\n')}\n\`\`\``;
  });
}

/** Runs commands as a user types them: `sudo` is already true, and `dataplane` is the one that was built. */
export class Console {
  private readonly directory = mkdtempSync(join(tmpdir(), 'console-'));

  constructor() {
    const programs = { sudo: 'exec "$@"', dataplane: `exec '${process.execPath}' '${MAIN}' "$@"` };
    for (const [name, script] of Object.entries(programs))
      writeFileSync(join(this.directory, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }

  async type(command: string): Promise<string> {
    const env = { PATH: `${this.directory}:${process.env.PATH}`, NO_COLOR: '1' };
    const { stdout } = await run(['bash', '-c', `exec 2>&1\n${command}`], { timeoutMs: 90_000, env });
    return stdout;
  }

  close(): void {
    rmSync(this.directory, { recursive: true });
  }
}

/** What differs from run to run: times, ports that the kernel chose, counters. Spaces align columns of such values. */
const VARIES: readonly [RegExp, string][] = [
  [/\b\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME'],
  [/\b[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d\.\d+/g, 'TIME'],
  [/^\d\d:\d\d:\d\d\.\d+/gm, 'TIME'],
  [/(?<=[:=])(3[2-9]\d{3}|[456]\d{4})\b/g, 'PORT'],
  [/\b(seq|ack|win|ts|packets=|bytes=) ?\d+( \d+)?/g, '$1N'],
  [/0x[0-9a-f]{4}\b/g, 'SUM'],
  [/(\.ts):\d+/g, '$1:LINE'],
  [/\b\d+#\d+\b/g, 'PACKET'],
  [/\brecord \d+/g, 'record N'],
  [/\b\d+(\.\d+)? (ms|milliseconds)\b/g, 'N $2'],
  [/\b\d+ (packets did|dropped)\b/g, 'N $1'],
  [/\b\d+ (?=\w+_\w+ src=|\w+ src=)/g, 'N '],
  [/\b(\d+m)?\d+s\b/g, 'AGE'],
  [/\b(controller|agent) \d+/g, '$1 PID'],
  [/ +/g, ' '],
  [/ $/gm, ''],
];

/** @param unordered lines of several nodes, whose order may differ */
export function normalised(output: string, unordered: boolean): string[] {
  const lines = VARIES.reduce((text, [pattern, name]) => text.replace(pattern, name), output.trimEnd()).split('\n');
  return unordered ? lines.sort() : lines;
}

/** Do the lines of a run match those of a document, in which `[…]` stands for any? */
export function matches(shown: readonly string[], actual: readonly string[]): boolean {
  const [first, ...rest] = shown;
  if (first === undefined) return actual.length === 0;
  if (first !== '[…]') return first === actual[0] && matches(rest, actual.slice(1));
  return actual.some((_, i) => matches(rest, actual.slice(i))) || rest.length === 0;
}
