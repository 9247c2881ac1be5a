/** Checks that this machine can run a cluster, before anything is changed. */
import { closeSync, existsSync, openSync, readFileSync, statfsSync } from 'node:fs';
import { findProgram } from '../linux/find-program.ts';
import { statusMask } from '../linux/status-mask.ts';
import { ClusterError } from './errors.ts';

/** Required programs, and the Debian package of each. */
const PROGRAMS: Readonly<Record<string, string>> = { ip: 'iproute2', nsenter: 'util-linux', unshare: 'util-linux' };

/** Bits of CapEff (linux/capability.h). */
const CAPABILITIES = [
  ['CAP_SYS_ADMIN', 21n],
  ['CAP_NET_ADMIN', 12n],
] as const;

const SHM = '/dev/shm';
const MIB = 1024 * 1024;
/**
 * Memory that a node's tables need before the first packet: 4 MiB for the index of 262144 connections, 1 MiB for the
 * rest.
 */
const TABLES_BYTES = 4 * MIB;
const INDEX_BYTES_PER_CONNECTION = 16;

/**
 * @param nodes number of nodes
 * @param maxConntrack tracked connections per node
 * @throws ClusterError MACHINE that names what is missing
 */
export function checkMachine(nodes: number, maxConntrack: number): void {
  for (const [program, debianPackage] of Object.entries(PROGRAMS)) {
    if (findProgram(program) !== undefined) continue;
    throw new ClusterError('MACHINE', `the program \`${program}\` is not in PATH`, `apt install ${debianPackage}`);
  }
  if (!existsSync('/proc/self/ns/net')) {
    throw new ClusterError('MACHINE', 'this kernel has no network namespaces', 'it needs CONFIG_NET_NS');
  }
  checkCapabilities();
  checkTun();
  checkSharedMemory(nodes, maxConntrack);
}

function checkCapabilities(): void {
  const capabilities = statusMask(readFileSync('/proc/self/status', 'latin1'), 'CapEff');
  for (const [name, bit] of CAPABILITIES) {
    if ((capabilities & (1n << bit)) !== 0n) continue;
    const advice = 'run it on the host, or run the container with --privileged';
    throw new ClusterError('MACHINE', `root here lacks ${name}`, advice);
  }
}

/**
 * The device node can exist without being usable: the driver may be missing, or a container may not be allowed to open
 * it.
 */
function checkTun(): void {
  const container = existsSync('/.dockerenv') || existsSync('/run/.containerenv');
  const advice = container
    ? 'run the container with --device /dev/net/tun --privileged'
    : 'load the driver with `modprobe tun`';
  try {
    closeSync(openSync('/dev/net/tun', 'r+'));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const what = code === 'ENOENT' ? 'is missing' : `cannot be opened (${code})`;
    throw new ClusterError('MACHINE', `/dev/net/tun ${what}`, advice);
  }
}

/** When a tmpfs is full, a process gets SIGBUS at its first write to a new page (mmap(2)), without an error message. */
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
  throw new ClusterError('MACHINE', what, `enlarge it with \`mount -o remount,size=…\`, or with docker's --shm-size`);
}
