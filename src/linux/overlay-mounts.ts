/** Which lower directories are in use by an overlay, in any mount namespace of a process that can be seen. */
import { readdirSync, readlinkSync } from 'node:fs';
import { type Mount, readMounts } from './mountinfo.ts';

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
      for (const lower of readMounts(Number(pid)).flatMap(lowerDirectories)) {
        const name = lower.slice(lower.lastIndexOf('/') + 1);
        if (names.has(name)) used.add(name);
      }
    } catch {
      // The process has ended.
    }
  }
  return used;
}

function lowerDirectories({ fileSystem, superOptions }: Mount): string[] {
  if (fileSystem !== 'overlay') return [];
  const option = superOptions.find((each) => each.startsWith('lowerdir='));
  return option?.slice('lowerdir='.length).split(':') ?? [];
}
