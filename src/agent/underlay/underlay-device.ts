/** Finds the underlay device: the device in the node's namespace that has the node's address. */
import { ipOutput } from '../../linux/ip-command.ts';
import type { Underlay } from '../config.ts';

/** The underlay device. @throws Error if no device has the address */
export function underlayDevice(nodeIP: string): Underlay {
  const addresses = JSON.parse(ipOutput(['-json', 'address', 'show'])) as {
    ifname: string;
    mtu: number;
    addr_info: { local?: string; prefixlen: number; broadcast?: string }[];
  }[];
  for (const { ifname: device, mtu, addr_info } of addresses) {
    const found = addr_info.find(({ local }) => local === nodeIP);
    if (found) return { device, mtu, prefix: found.prefixlen };
  }
  throw new Error(`no device of this namespace has the node's address ${nodeIP}`);
}
