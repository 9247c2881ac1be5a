/** What a cluster has left in the system. */
import { existsSync, readdirSync } from 'node:fs';
import { listShared } from '../../src/linux/shm-files.ts';
import { SHM_PREFIX } from '../../src/shm-names.ts';

/** Empty after `dataplane down`. */
export function leftovers(): string[] {
  const list = (directory: string, prefix: string) =>
    existsSync(directory) ? readdirSync(directory).filter((name) => name.startsWith(prefix)) : [];
  const state = existsSync('/run/dataplane') ? ['/run/dataplane'] : [];
  return [...state, ...list('/run/netns', 'dp-'), ...listShared(SHM_PREFIX)];
}
