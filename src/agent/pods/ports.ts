/**
 * A pod's device: eth0 in the pod's namespace is a TAP, and this process holds its other ends, one queue per worker.
 * The device is persistent: its address and routes outlive an agent that dies, and the next agent attaches to it.
 */
import { close, writeFileSync } from 'node:fs';
import { ipBatch, ipOutput } from '../../linux/ip-command.ts';
import { inNamespace } from '../../linux/netns.ts';
import { type LinkChange, RouteSocket } from '../../linux/rtnetlink.ts';
import { closeTap, makeTemporary, OffloadLevel, openTap, removeTap, type Tap } from '../../linux/tap.ts';

/** The name of a pod's device, unless a container runtime wants another. */
export const DEVICE = 'eth0';
const LOOPBACK_INDEX = 1;
/**
 * Frames that wait for the worker. As long as it has no processor, a node's clients lose what does not fit: 20,000 DNS queries a
 * second fill a thousand in 50 ms. Memory is bounded by the senders' socket buffers, which count frames in the queue.
 */
export const QUEUE_FRAMES = 4096;

/** A pod's device, to be created or opened. */
export interface PodDevice {
  readonly netnsPath: string;
  /** Default: eth0. */
  readonly device?: string | undefined;
  readonly ip: string;
  readonly prefix: number;
  readonly gateway: string;
  readonly mac: string;
  readonly mtu: number;
  /** Of super-packets (super-packets.ts). */
  readonly limits: Pick<LinkChange, 'gsoMaxBytes' | 'gsoMaxSegments'>;
  /** The most offloads to ask for; UDP is both default and maximum. */
  readonly offloads?: OffloadLevel;
}

/**
 * Offloads of a pod's device. Tunnel offload is excluded: the overlay's own headers never reach a pod, and a VXLAN
 * device inside a pod (pods may run tunnels between themselves) would send super-packets whose inner headers are not
 * checked here.
 */
function podOffloads(best: OffloadLevel = OffloadLevel.UDP): OffloadLevel {
  return best > OffloadLevel.UDP ? OffloadLevel.UDP : best;
}

/**
 * Create (or attach to) eth0 in the pod's namespace and configure it. About 1 ms.
 * @param opened the device, if it is open already
 * @throws SystemError; the device is removed then, unless it existed before
 */
export function openPodDevice(device: PodDevice, workers: number, opened?: Tap): Tap {
  const name = device.device ?? DEVICE;
  const offloads = podOffloads(device.offloads);
  return withRoutes(device.netnsPath, (routes) => {
    const known = routes.findLink(name) > 0;
    const tap = opened ?? openTap({ name, queues: workers, persist: true, offloads });
    try {
      configure(name, device, routes);
    } catch (error) {
      if (known) closeTap(tap);
      else removeTap(tap);
      throw error;
    }
    return tap;
  });
}

function configure(name: string, device: PodDevice, routes: RouteSocket): void {
  try {
    // IPv6 is not supported yet: what the pod would send (router solicitations, MLD) would only be dropped.
    writeFileSync(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, '1');
  } catch {
    // A kernel without IPv6 has nothing to disable.
  }
  const index = routes.linkIndex(name);
  routes.changeLink(LOOPBACK_INDEX, { up: true });
  routes.changeLink(index, { mac: device.mac, mtu: device.mtu, queueLength: QUEUE_FRAMES, up: true });
  routes.changeLink(index, device.limits);
  routes.setAddress(index, device.ip, device.prefix);
  routes.setRoute('0.0.0.0', 0, index, device.gateway);
}

/** Change the MTU of a pod's device, and what depends on it. @throws SystemError if it does not exist */
export function setPodMtu(netnsPath: string, change: LinkChange, device = DEVICE): void {
  withRoutes(netnsPath, (routes) => routes.changeLink(routes.linkIndex(device), change));
}

/** Does the namespace exist and have the device? */
export function isDeviceThere(netnsPath: string, device: string): boolean {
  try {
    return withRoutes(netnsPath, (routes) => routes.findLink(device) > 0);
  } catch {
    return false;
  }
}

/** A pod's device, as far as `ip -j address show` prints it. */
interface ShownDevice {
  readonly address: string;
  readonly flags: readonly string[];
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
}

/**
 * How a pod's device differs from what openPodDevice makes; undefined if it does not.
 * @throws SystemError if the namespace does not exist
 */
export function differenceOf({
  netnsPath,
  device = DEVICE,
  ip,
  prefix,
  mac,
}: Pick<PodDevice, 'netnsPath' | 'device' | 'ip' | 'prefix' | 'mac'>): string | undefined {
  if (!isDeviceThere(netnsPath, device)) return `there is no device ${device}`;
  const [shown] = inNamespace(netnsPath, () =>
    JSON.parse(ipOutput(['-j', 'address', 'show', 'dev', device])),
  ) as ShownDevice[];
  if (shown === undefined || !shown.flags.includes('UP')) return `device ${device} is down`;
  if (shown.address !== mac) return `device ${device} has the address ${shown.address}, not ${mac}`;
  const hasAddress = shown.addr_info.some(({ local, prefixlen }) => local === ip && prefixlen === prefix);
  return hasAddress ? undefined : `device ${device} has no address ${ip}/${prefix}`;
}

/** Remove a device that no process of ours has open, if it exists. @throws IpCommandError */
export function removePodDevice(netnsPath: string, device: string): void {
  if (isDeviceThere(netnsPath, device)) inNamespace(netnsPath, () => ipBatch([`link del ${device}`]));
}

/** Run `work` with a route socket of the namespace. */
function withRoutes<T>(netnsPath: string, work: (routes: RouteSocket) => T): T {
  return inNamespace(netnsPath, () => {
    const routes = new RouteSocket();
    try {
      return work(routes);
    } finally {
      routes.close();
    }
  });
}

/**
 * Close the queues and remove the device; resolves when it is gone. Not on this thread: unregistering a device takes
 * the kernel 10 to 20 ms.
 */
export async function closePodDevice(tap: Tap): Promise<void> {
  makeTemporary(tap);
  await Promise.all(tap.fds.map((fd) => new Promise<void>((resolve) => close(fd, () => resolve()))));
}
