/** The project's sources as text, for the tests that read them. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { ROOT } from './cluster.ts';

/** Folder of the pipeline. */
export const PIPELINE = 'native-free-dataplane';

export interface Source {
  /** From the project's root. */
  path: string;
  text: string;
  /** The text without comments. */
  code: string;
  /** Paths from the root, or names of packages. */
  imports: string[];
}

function withoutComments(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ' '))
    .replace(/(^|\s)\/\/.*$/gm, '$1');
}

/** What a source imports, re-exports or loads while it runs. */
export function importsOf(path: string, code: string): string[] {
  const found = [...code.matchAll(/(?:\bfrom|^import|\bimport\()\s*'([\w@.:/-]+)'/gm)];
  return found.map(([, name = '']) => (name.startsWith('.') ? normalize(join(dirname(path), name)) : name));
}

/** Every source in these folders, by path. */
export function sourcesUnder(...folders: string[]): Source[] {
  return folders
    .flatMap((folder) => (readdirSync(join(ROOT, folder), { recursive: true }) as string[]).map((f) => join(folder, f)))
    .filter((path) => /\.tsx?$/.test(path))
    .sort()
    .map((path) => {
      const text = readFileSync(join(ROOT, path), 'utf8');
      const code = withoutComments(text);
      return { path, text, code, imports: importsOf(path, code) };
    });
}
