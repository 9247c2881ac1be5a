/** Which lower directories are in use by an overlay, in any mount namespace of a process that can be seen. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** @returns those of `names` (last parts of lower directories' paths) that are in use */
export function overlaysInUse(names: ReadonlySet<string>): Set<string> {
  const used = new Set<string>();
  const seen = new Set<string>();
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const namespace = readlinkSync(`/proc/${pid}/ns/mnt`);
      if (seen.has(namespace)) continue;
      seen.add(namespace);
      for (const lower of lowerDirectories(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'))) {
        const name = lower.slice(lower.lastIndexOf('/') + 1);
        if (names.has(name)) used.add(name);
      }
    } catch {
      // The process has ended.
    }
  }
  return used;
}

/** proc_pid_mountinfo(5): the last field has the options of the file system. */
function lowerDirectories(mountinfo: string): string[] {
  return mountinfo
    .split('\n')
    .filter((line) => line.includes(' - overlay '))
    .flatMap((line) => /[ ,]lowerdir=([^, ]*)/.exec(line)?.[1]?.split(':') ?? []);
}
