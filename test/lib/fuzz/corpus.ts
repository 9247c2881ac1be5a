/** The inputs kept in the repository: test/fuzz/corpus/TARGET.txt, one line of base64 each, shortest first. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../cluster.ts';

const DIRECTORY = join(ROOT, 'test/fuzz/corpus');
const fileOf = (target: string): string => join(DIRECTORY, `${target}.txt`);

export function readCorpus(target: string): Uint8Array[] {
  if (!existsSync(fileOf(target))) return [];
  const lines = readFileSync(fileOf(target), 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => new Uint8Array(Buffer.from(line, 'base64')));
}

/** Longer inputs are not kept: what they reach, shorter ones usually do too. */
const MAX_BYTES = 4096;

export function writeCorpus(target: string, inputs: readonly Uint8Array[]): void {
  mkdirSync(DIRECTORY, { recursive: true });
  const lines = inputs
    .filter(({ length }) => length <= MAX_BYTES)
    .sort((a, b) => a.length - b.length)
    .map((bytes) => Buffer.from(bytes).toString('base64'));
  writeFileSync(fileOf(target), `${lines.join('\n')}\n`);
}
