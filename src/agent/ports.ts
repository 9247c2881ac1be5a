/**
 * A pod's device: eth0 inside the pod's namespace is a TAP, and this process holds its other ends, one queue for each
 * worker. The device is persistent: its address and routes outlive an agent that dies, and the next one attaches again.
 */
import { writeFileSync } from 'node:fs';
import { ipBatch } from '../linux/ip-command.ts';
import { inNamespace } from '../linux/netns.ts';
import { type Tap, openTap, removeTap } from '../linux/tap.ts';

/** Largest super-packet a pod may send: encapsulated it must still fit 64 KiB (linux tun_vnet: inner frame ≤ 65499). */
const GSO_MAX_BYTES = 65000;
const QUEUE_LENGTH = 1000;

export interface PodDevice {
  readonly netnsPath: string;
  readonly ip: string;
  readonly prefix: number;
  readonly gateway: string;
  readonly mac: string;
  readonly mtu: number;
}

/**
 * Make (or attach to) eth0 in the pod's namespace and configure it.
 * @throws SystemError, IpCommandError; the device is gone again then unless it was there before
 */
export function openPodDevice(device: PodDevice, workers: number, noTunnelOffload: boolean): Tap {
  return inNamespace(device.netnsPath, () => {
    const tap = openTap({ name: 'eth0', queues: workers, persist: true, noTunnelOffload });
    try {
      // No IPv6 yet: what the pod would send of it (router solicitations, MLD) could only be dropped.
      writeFileSync('/proc/sys/net/ipv6/conf/eth0/disable_ipv6', '1');
    } catch {
      // A kernel without IPv6 has nothing to switch off.
    }
    try {
      ipBatch([
        `link set lo up`,
        `link set eth0 address ${device.mac} mtu ${device.mtu} txqueuelen ${QUEUE_LENGTH}`,
        `link set eth0 up`,
        `address replace ${device.ip}/${device.prefix} dev eth0`,
        `route replace default via ${device.gateway} dev eth0`,
      ]);
      ipBatch([`link set eth0 gso_max_size ${GSO_MAX_BYTES}`], true);
    } catch (error) {
      removeTap(tap);
      throw error;
    }
    return tap;
  });
}

/** Close the queues and take the device away, if the namespace is still there. */
export function closePodDevice(tap: Tap): void {
  removeTap(tap);
}
