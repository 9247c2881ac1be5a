/** Can this machine run a cluster? Checked before anything is changed. */
import { accessSync, closeSync, constants, existsSync, openSync, readFileSync, statfsSync } from 'node:fs';
import { ClusterError } from './errors.ts';

/** Programs the cluster runs, and the Debian package of each. */
const PROGRAMS: Readonly<Record<string, string>> = { ip: 'iproute2', nsenter: 'util-linux', unshare: 'util-linux' };

/** Bits of CapEff (linux/capability.h). */
const CAPABILITIES = [
  ['CAP_SYS_ADMIN', 21n],
  ['CAP_NET_ADMIN', 12n],
] as const;

const SHM = '/dev/shm';
const MIB = 1024 * 1024;
/** What a node's tables take before the first packet: 4 MiB of index for 262144 connections and 1 MiB of the rest. */
const TABLES_BYTES = 4 * MIB;
const INDEX_BYTES_PER_CONNECTION = 16;

/**
 * @param nodes how many nodes it is to run
 * @param maxConntrack tracked connections of each
 * @throws ClusterError MACHINE that names what is missing
 */
export function checkMachine(nodes: number, maxConntrack: number): void {
  for (const [program, debianPackage] of Object.entries(PROGRAMS)) {
    if (isOnPath(program)) continue;
    throw new ClusterError('MACHINE', `the program \`${program}\` is not on the path`, `apt install ${debianPackage}`);
  }
  if (!existsSync('/proc/self/ns/net')) {
    throw new ClusterError('MACHINE', 'this kernel has no network namespaces', 'CONFIG_NET_NS is needed');
  }
  checkCapabilities();
  checkTun();
  checkSharedMemory(nodes, maxConntrack);
}

/** As execvp(3) looks for it. */
const isOnPath = (program: string): boolean =>
  (process.env.PATH ?? '').split(':').some((directory) => {
    try {
      accessSync(`${directory}/${program}`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

function checkCapabilities(): void {
  const capabilities = BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`);
  for (const [name, bit] of CAPABILITIES) {
    if ((capabilities & (1n << bit)) !== 0n) continue;
    const advice = 'run it on the machine itself, or the container with --privileged';
    throw new ClusterError('MACHINE', `root here lacks ${name}`, advice);
  }
}

/** The device node may exist without being usable: no driver behind it, or a container that may not open it. */
function checkTun(): void {
  const container = existsSync('/.dockerenv') || existsSync('/run/.containerenv');
  const advice = container
    ? 'run the container with --device /dev/net/tun --privileged'
    : '`modprobe tun` loads the driver';
  try {
    closeSync(openSync('/dev/net/tun', 'r+'));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const what = code === 'ENOENT' ? 'is missing' : `cannot be opened (${code})`;
    throw new ClusterError('MACHINE', `/dev/net/tun ${what}`, advice);
  }
}

/** A full tmpfs ends a process by SIGBUS at its first write to a new page (mmap(2)), which no message can explain. */
function checkSharedMemory(nodes: number, maxConntrack: number): void {
  const needed = nodes * (TABLES_BYTES + INDEX_BYTES_PER_CONNECTION * maxConntrack);
  let free: number;
  try {
    const { bavail, bsize } = statfsSync(SHM);
    free = bavail * bsize;
  } catch (error) {
    throw new ClusterError(
      'MACHINE',
      `${SHM} cannot be used (${(error as NodeJS.ErrnoException).code})`,
      'mount a tmpfs',
    );
  }
  if (free >= needed) return;
  const what = `${SHM} has ${Math.floor(free / MIB)} MiB free, the tables of ${nodes} nodes need ${Math.ceil(needed / MIB)} MiB`;
  throw new ClusterError(
    'MACHINE',
    what,
    `\`mount -o remount,size=…\` enlarges it, docker's --shm-size does in a container`,
  );
}
