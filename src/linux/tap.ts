/**
 * TAP devices: created or opened in the calling thread's network namespace, with all the offloads the kernel supports.
 *
 * Numbers and layouts: linux include/uapi/linux/if_tun.h and if.h (struct ifreq: 16 bytes of name, then the flags).
 */
import { fstatSync, statSync } from 'node:fs';
import { close, EBUSY, EINVAL, errno, ioctl, ioctlNumber, open, SystemError } from './ffi.ts';

const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETVNETHDRSZ = 0x400454d8;
const TUNSETVNETLE = 0x400454dc;
const TUNGETDEVNETNS = 0x54e3;

const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const IFF_MULTI_QUEUE = 0x0100;

const O_RDWR_NONBLOCK_CLOEXEC = 0o2 | 0o4000 | 0o2000000;

const CSUM = 0x01;
const TSO4 = 0x02;
const TSO6 = 0x04;
const TSO_ECN = 0x08;
const USO4 = 0x20;
const USO6 = 0x40;
const TUNNEL_GSO = 0x80;
const TUNNEL_GSO_CSUM = 0x100;

const PLAIN = CSUM | TSO4 | TSO6 | TSO_ECN;

/** Sets of offloads; each includes the one before. */
export const OffloadLevel = {
  NONE: 0,
  CHECKSUM: 1,
  /** TCP super-packets. */
  TCP: 2,
  /** UDP super-packets too (Linux 6.2). */
  UDP: 3,
  /** VXLAN-encapsulated super-packets too (Linux 6.17). */
  TUNNEL: 4,
} as const;
export type OffloadLevel = (typeof OffloadLevel)[keyof typeof OffloadLevel];
/** Names of the levels, for display. */
export const OFFLOAD_NAMES = ['none', 'checksum', 'tcp', 'udp', 'tunnel'] as const;
export type OffloadName = (typeof OFFLOAD_NAMES)[number];

/** TUN_F_* by level; a kernel returns EINVAL for bits it does not know. */
const OFFLOAD_SETS: readonly number[] = [
  0,
  CSUM,
  PLAIN,
  PLAIN | USO4 | USO6,
  PLAIN | USO4 | USO6 | TUNNEL_GSO | TUNNEL_GSO_CSUM,
];

/** What a device was found to support. */
export interface TapFeatures {
  /** Bytes of virtio-net header in front of every frame: 24 with tunnel offload, else 12. */
  readonly headerBytes: number;
  readonly tunnelOffload: boolean;
  readonly udpSegmentation: boolean;
  readonly segmentation: boolean;
}

/** An open TAP device. */
export interface Tap extends TapFeatures {
  /** One file descriptor for each queue, non-blocking. */
  readonly fds: readonly number[];
  readonly name: string;
}

/** How a TAP device is created or opened. */
export interface TapOptions {
  readonly name: string;
  readonly queues: number;
  /** Keep the device when its last file descriptor closes. */
  readonly persist: boolean;
  /** The most to ask for, even if the kernel supports more: emulates an older kernel. Default TUNNEL. */
  readonly offloads?: OffloadLevel;
}

function request(name: string, flags: number): Buffer {
  const ifreq = Buffer.alloc(40);
  ifreq.write(name, 0, 15, 'ascii');
  ifreq.writeUInt16LE(flags, 16);
  return ifreq;
}

function setInt(fd: number, call: number, value: number): boolean {
  const word = Buffer.alloc(4);
  word.writeInt32LE(value);
  return ioctl(fd, call, word) === 0;
}

/**
 * Create the device, or attach to it if it exists.
 * @throws SystemError naming the call; nothing stays open then
 */
export function openTap(options: TapOptions): Tap {
  const fds: number[] = [];
  try {
    let features: TapFeatures | undefined;
    for (let queue = 0; queue < options.queues; queue++) {
      const fd = open('/dev/net/tun', O_RDWR_NONBLOCK_CLOEXEC, 0);
      if (fd < 0) throw new SystemError('open', '/dev/net/tun (is the tun module there?)');
      fds.push(fd);
      attachQueue(fd, options.name);
      features = negotiate(fd, options, features);
    }
    if (!features) throw new RangeError('a TAP needs at least one queue');
    const first = fds[0];
    if (first !== undefined) ioctlNumber(first, TUNSETPERSIST, options.persist ? 1 : 0);
    return { ...features, fds, name: options.name };
  } catch (error) {
    for (const fd of fds) close(fd);
    throw error;
  }
}

/**
 * Recreate a device that was deleted, with the same file descriptors for its queues, so that their readers can
 * continue.
 * @throws SystemError naming the call, for example if another device has the name
 */
export function recreateTap(tap: Tap, options: Omit<TapOptions, 'name' | 'queues'>): void {
  const all = { ...options, name: tap.name, queues: tap.fds.length };
  let features: TapFeatures | undefined;
  for (const fd of tap.fds) {
    attachQueue(fd, tap.name);
    features = negotiate(fd, all, features);
  }
  const first = tap.fds[0];
  if (first !== undefined) ioctlNumber(first, TUNSETPERSIST, options.persist ? 1 : 0);
}

function attachQueue(fd: number, name: string): void {
  const flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
  if (ioctl(fd, TUNSETIFF, request(name, flags)) === 0) return;
  const number = errno();
  const hint = number === EBUSY ? ' (another process has it open)' : '';
  throw new SystemError('TUNSETIFF', `${name}${hint}`, number);
}

/**
 * Negotiate header size and offloads. Offloads belong to the device: the first queue decides, the others use the same.
 */
function negotiate(fd: number, options: TapOptions, known: TapFeatures | undefined): TapFeatures {
  if (!setInt(fd, TUNSETVNETLE, 1)) throw new SystemError('TUNSETVNETLE', options.name);
  if (known) return known;
  const found = probeOffloads(options.offloads ?? OffloadLevel.TUNNEL, (headerBytes, bits) => {
    // Header size first: a device that offers tunnel offload with a smaller header loses packets.
    if (!setInt(fd, TUNSETVNETHDRSZ, headerBytes)) return false;
    if (ioctlNumber(fd, TUNSETOFFLOAD, bits) === 0) return true;
    if (errno() !== EINVAL) throw new SystemError('TUNSETOFFLOAD', options.name);
    return false;
  });
  if (!found) throw new SystemError('TUNSETOFFLOAD', options.name);
  return found;
}

/**
 * The highest level that the kernel accepts, from `best` down.
 * @param accepts asks the kernel: does it accept this header size with these TUN_F_* bits?
 * @returns undefined if it accepts none
 */
export function probeOffloads(
  best: OffloadLevel,
  accepts: (headerBytes: number, bits: number) => boolean,
): TapFeatures | undefined {
  for (let level: number = best; level >= OffloadLevel.NONE; level--) {
    const tunnelOffload = level >= OffloadLevel.TUNNEL;
    const headerBytes = tunnelOffload ? 24 : 12;
    if (!accepts(headerBytes, OFFLOAD_SETS[level] ?? 0)) continue;
    return {
      headerBytes,
      tunnelOffload,
      udpSegmentation: level >= OffloadLevel.UDP,
      segmentation: level >= OffloadLevel.TCP,
    };
  }
  return undefined;
}

/** Is the queue attached to a device in the network namespace at `path`? False on kernels before 5.11, which cannot answer. */
export function isTapIn(fd: number, path: string): boolean {
  const namespace = ioctlNumber(fd, TUNGETDEVNETNS, 0);
  if (namespace < 0) return false;
  try {
    return fstatSync(namespace).ino === statSync(path).ino;
  } catch {
    return false;
  } finally {
    close(namespace);
  }
}

/** Close the device's file descriptors; a persistent device stays. */
export function closeTap(tap: Pick<Tap, 'fds'>): void {
  for (const fd of tap.fds) close(fd);
}

/** Remove the device when its last file descriptor is closed. */
export function makeTemporary(tap: Pick<Tap, 'fds'>): void {
  const first = tap.fds[0];
  if (first !== undefined) ioctlNumber(first, TUNSETPERSIST, 0);
}

/** Remove the device: no longer persistent, and all queues closed. */
export function removeTap(tap: Pick<Tap, 'fds'>): void {
  makeTemporary(tap);
  closeTap(tap);
}
