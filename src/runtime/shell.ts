/** Text for sh, fstab and file names. */
import { createHash } from 'node:crypto';

/** Longest name of a file (Linux, NAME_MAX). */
const NAME_MAX = 255;

/** The name; if it is too long, its beginning and a hash of the whole. */
export function fileName(name: string): string {
  if (name.length <= NAME_MAX) return name;
  return `${name.slice(0, NAME_MAX - 17)}-${createHash('sha256').update(name).digest('hex').slice(0, 16)}`;
}

/** Quote one word for sh. */
export const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/** One field of fstab(5), in which white space and backslashes are octal escapes. */
export const fstabField = (text: string): string =>
  text.replace(/[\s\\#]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
