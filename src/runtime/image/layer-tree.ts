/**
 * Looks into the layers of an image as overlayfs shows them together, without mounting them: links are followed inside the
 * image only (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, readSync, type Stats } from 'node:fs';
import { join, posix } from 'node:path';
import { isOpaque, isWhiteout } from '../../linux/special-files.ts';

/** As the kernel (path_resolution(7)). */
const MAX_LINKS = 40;

export interface LayerEntry {
  /** Its path in the image, without links. */
  path: string;
  /** Where it is on this machine; undefined if the image has nothing there. */
  file?: string;
  stat?: Stats;
}

export class LayerTree {
  private readonly roots: readonly string[];

  /** @param layers names in the directory `store`, the uppermost first */
  constructor(store: string, layers: readonly string[]) {
    this.roots = layers.map((name) => join(store, name));
  }

  /** What is at this path, after all links. @throws Error if there are too many links */
  find(path: string): LayerEntry {
    let rest = componentsOf(path);
    let found: Found = { path: '/', places: this.roots };
    for (let links = 0; rest.length > 0; ) {
      const next = child(found, rest[0]!);
      if (next.link === undefined) {
        found = next;
        rest = rest.slice(1);
        continue;
      }
      if (++links > MAX_LINKS) throw new Error(`${path}: too many levels of symbolic links`);
      // From the root again: `..` in the target is resolved as text, after what comes before it is free of links.
      rest = [...componentsOf(posix.resolve(found.path, next.link)), ...rest.slice(1)];
      found = { path: '/', places: this.roots };
    }
    const file = found.places[0];
    return { path: found.path, ...(file !== undefined && { file, stat: lstatSync(file) }) };
  }

  /** Text of a small file; empty if there is none, or it is something else. */
  readText(path: string, maxBytes: number): string {
    const { file, stat } = this.find(path);
    if (file === undefined || !stat?.isFile()) return '';
    const fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      const bytes = Buffer.alloc(Math.min(fstatSync(fd).size, maxBytes));
      return bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, 0));
    } finally {
      closeSync(fd);
    }
  }
}

interface Found {
  path: string;
  /** Where it is, the uppermost first; more than one for a directory of several layers. */
  places: readonly string[];
  /** It exists, and is not a directory. */
  isFile?: boolean;
  /** Target of a symbolic link. */
  link?: string;
}

function child({ path, places, isFile }: Found, name: string): Found {
  const own: string[] = [];
  if (isFile) return { path: posix.join(path, name), places: own };
  for (const place of places) {
    const file = join(place, name);
    const stat = lstatSync(file, { throwIfNoEntry: false });
    if (stat === undefined) continue;
    if (isWhiteout(stat)) break;
    if (stat.isDirectory()) {
      own.push(file);
      if (isOpaque(file)) break;
      continue;
    }
    if (own.length > 0) break; // Hidden by the directories above it.
    if (stat.isSymbolicLink()) return { path, places: [], link: readlinkSync(file) };
    return { path: posix.join(path, name), places: [file], isFile: true };
  }
  return { path: posix.join(path, name), places: own };
}

const componentsOf = (path: string): string[] =>
  posix
    .resolve('/', path)
    .split('/')
    .filter((name) => name !== '');
