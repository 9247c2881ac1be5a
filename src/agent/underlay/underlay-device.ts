/** Which device of the node's namespace is the underlay: the one with the node's address. */
import { ipOutput } from '../../linux/ip-command.ts';
import type { Underlay } from '../config.ts';

/** @throws Error naming the address, when no device has it */
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
