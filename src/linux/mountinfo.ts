/** The mounts of a mount namespace, in the order in which they were made (proc_pid_mountinfo(5)). */
import { readFileSync } from 'node:fs';

export interface Mount {
  readonly path: string;
  /** Type of the file system, such as `tmpfs`. */
  readonly fileSystem: string;
  /** Of the mount: `ro`, `noexec` and so on. */
  readonly options: readonly string[];
  /** Of the file system. */
  readonly superOptions: readonly string[];
}

/** @throws Error if the process has ended */
export const readMounts = (pid: number | 'self' = 'self'): Mount[] =>
  parseMounts(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));

export function parseMounts(text: string): Mount[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const fields = line.split(' ');
      // Optional fields, any number of them, end with a dash; then type, source and options of the file system.
      const [fileSystem = '', , superOptions = ''] = fields.slice(fields.indexOf('-', 6) + 1);
      return {
        path: fields[4]!.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
        fileSystem,
        options: fields[5]!.split(','),
        superOptions: superOptions.split(','),
      };
    });
}
