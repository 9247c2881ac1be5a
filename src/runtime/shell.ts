/** Text for sh and fstab. */

/** One word of sh. */
export const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/** One field of fstab(5), where blanks and backslashes are octal. */
export const fstabField = (text: string): string =>
  text.replace(/[\s\\#]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
