/**
 * The files of one layer as they are unpacked: a directory in which every path is resolved as if it were the root, so
 * that nothing outside of it is ever created, changed or read, whatever the archive contains.
 *
 * A name with `..` is refused. A symbolic link is content and may point anywhere, but where it is a directory on the way
 * to another entry it is followed inside the layer, as the container would. Nobody else writes here meanwhile.
 */
import { chmodSync, lchownSync, lstatSync, mkdirSync, readlinkSync, rmSync, type Stats } from 'node:fs';
import { join } from 'node:path';

const MAX_LINKS = 40;
const MAX_PATH = 4096;
const MAX_DEPTH = 256;

export class LayerDirectory {
  readonly root: string;
  private readonly lower: readonly string[];
  /** Directories known to be real: their path in the archive → on disk. */
  private readonly known = new Map<string, string>();

  /** @param lower directories of the layers below, the uppermost first */
  constructor(root: string, lower: readonly string[]) {
    this.root = root;
    this.lower = lower;
  }

  /**
   * Where an entry of this name belongs; directories on the way are created.
   * @throws Error for a name that leads out of the layer
   */
  place(name: string): { parent: string; base: string; path: string } {
    const parts = partsOf(name);
    const base = parts.pop();
    if (base === undefined) return { parent: this.root, base: '', path: this.root };
    const parent = this.directory(parts);
    return { parent, base, path: join(parent, base) };
  }

  /** Remove what is in the place of an entry that is not a directory. */
  clear(path: string): void {
    const found = stat(path);
    if (found === undefined) return;
    if (path === this.root) throw new Error('the root of the layer is not a directory');
    if (found.isDirectory()) this.known.clear();
    rmSync(path, { recursive: true, force: true });
  }

  private directory(parts: readonly string[]): string {
    const key = parts.join('/');
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const path = this.walk([...parts]);
    this.known.set(key, path);
    return path;
  }

  private walk(todo: string[]): string {
    const done: string[] = [];
    for (let links = 0; todo.length > 0; ) {
      const part = todo.shift()!;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        done.pop();
        continue;
      }
      const path = join(this.root, ...done, part);
      const found = stat(path);
      if (found?.isSymbolicLink()) {
        if (++links > MAX_LINKS) throw new Error(`${[...done, part].join('/')}: too many symbolic links`);
        const target = readlinkSync(path);
        if (target.startsWith('/')) done.length = 0;
        todo.unshift(...target.split('/'));
        continue;
      }
      done.push(part);
      if (done.length > MAX_DEPTH)
        throw new Error(`${done.slice(0, 4).join('/')}/…: more than ${MAX_DEPTH} directories deep`);
      if (found?.isDirectory()) continue;
      if (found !== undefined) this.clear(path);
      this.makeMissing(path, done);
    }
    return join(this.root, ...done);
  }

  /** An archive need not name a directory that is in a layer below: it then has the attributes it has there. */
  private makeMissing(path: string, parts: readonly string[]): void {
    mkdirSync(path, { mode: 0o755 });
    const below = this.lower.map((layer) => stat(join(layer, ...parts))).find((found) => found?.isDirectory());
    if (below === undefined) return;
    lchownSync(path, below.uid, below.gid);
    chmodSync(path, below.mode & 0o7777);
  }
}

/** @throws Error */
export function partsOf(name: string): string[] {
  if (name.length > MAX_PATH || name.includes('\0')) throw new Error(`"${name.slice(0, 60)}…" is no path`);
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw new Error(`"${name}" leads out of the layer`);
  return parts;
}

/** Not following a link. */
export const stat = (path: string): Stats | undefined => lstatSync(path, { throwIfNoEntry: false });
