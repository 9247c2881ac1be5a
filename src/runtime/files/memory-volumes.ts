/** emptyDirs with `medium: Memory`: each is a tmpfs of its own, so that it cannot grow beyond its size. */
import { readMounts } from '../../linux/mountinfo.ts';
import { MountFlag, mount, unmount } from '../../linux/mounts.ts';

/** Unless it is mounted already, by an earlier agent. @throws SystemError */
export function mountInMemory(path: string, bytes: number): void {
  if (mountsBelow(path).includes(path)) return;
  mount('tmpfs', path, MountFlag.NODEV | MountFlag.NOSUID, `size=${Math.ceil(bytes)},mode=0777`);
}

/** Unmount those below a directory. Containers that still have them mounted keep them. */
export function unmountMemory(directory: string): void {
  for (const path of mountsBelow(directory).toReversed()) unmount(path);
}

const mountsBelow = (directory: string): string[] =>
  readMounts()
    .filter(({ path, fileSystem }) => fileSystem === 'tmpfs' && `${path}/`.startsWith(`${directory}/`))
    .map(({ path }) => path);
