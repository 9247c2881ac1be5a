/** Which of the host's mounts make up a container's root. */
import { existsSync, statSync } from 'node:fs';
import { readMounts } from '../../linux/mountinfo.ts';

/** Not content of the host: kernel interfaces, and file systems that a container has of its own. */
const KERNEL_FILE_SYSTEMS = new Set(
  (
    'proc sysfs devtmpfs devpts mqueue hugetlbfs cgroup cgroup2 nsfs debugfs tracefs securityfs pstore bpf autofs ' +
    'fusectl configfs binfmt_misc efivarfs rpc_pipefs selinuxfs ramfs'
  ).split(' '),
);
const OWN_DIRECTORIES = ['/proc', '/sys', '/dev', '/run', '/var/run', '/boot', '/snap'];

export interface HostMount {
  path: string;
  fileSystem: string;
  noexec: boolean;
}

/** Mounts of this mount namespace of which a container sees a copy, outermost first; `/` is one of them. */
export function layeredMounts(mounts: readonly HostMount[]): HostMount[] {
  const wanted = mounts.filter(
    ({ path, fileSystem }) =>
      !KERNEL_FILE_SYSTEMS.has(fileSystem) &&
      !OWN_DIRECTORIES.some((own) => path === own || path.startsWith(`${own}/`)) &&
      // There is no escape for these characters in an overlay's lower-directory option that all kernels accept.
      !/[:,\\\s]/.test(path) &&
      statSync(path, { throwIfNoEntry: false })?.isDirectory(),
  );
  // If a path is mounted over twice, the last mount is the visible one.
  const byPath = new Map(wanted.map((mount) => [mount.path, mount]));
  return [...byPath.values()].sort((a, b) => a.path.length - b.path.length);
}

/** The mount a path is on. */
export function mountOf(path: string, mounts: readonly HostMount[]): HostMount | undefined {
  return mounts
    .filter((mount) => mount.path === '/' || path === mount.path || path.startsWith(`${mount.path}/`))
    .reduce<HostMount | undefined>(
      (best, mount) => (best && best.path.length > mount.path.length ? best : mount),
      undefined,
    );
}

/** Those of this mount namespace. */
export const hostMounts = (): HostMount[] =>
  readMounts().map(({ path, fileSystem, options }) => ({ path, fileSystem, noexec: options.includes('noexec') }));

/** The host's device nodes that every container has. Its /dev/ptmx leads to a devpts of its own. */
export const hostDevices = (): string[] =>
  ['null', 'zero', 'full', 'random', 'urandom', 'tty', 'fd', 'stdin', 'stdout', 'stderr']
    .map((name) => `/dev/${name}`)
    .filter((path) => existsSync(path));
