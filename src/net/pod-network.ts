/** Conventions for the addresses of pods and nodes: the gateway of a pod network, the MAC of an address. */
import { type Cidr, nthAddress, parseCidr, parseIp, printIp } from './address.ts';

/** A pod network. @throws RangeError for text that is not a network */
function needNetwork(podCIDR: string): Cidr {
  const network = parseCidr(podCIDR);
  if (network === undefined) throw new RangeError(`${podCIDR}: expected a pod network such as 10.244.1.0/24`);
  return network;
}

/** Length of the network's prefix. @throws RangeError */
export const prefixOf = (podCIDR: string): number => needNetwork(podCIDR).prefix;

/** The gateway of a pod network: its first address. @throws RangeError */
export function gatewayOf(podCIDR: string): string {
  const gateway = nthAddress(needNetwork(podCIDR), 1);
  if (gateway === undefined) throw new RangeError(`${podCIDR}: expected a pod network with room for a gateway`);
  return printIp(gateway);
}

/** The MAC of an IPv4 address: 0a:58 and its four bytes, as CNI's bridge plugin makes them. @throws RangeError */
export function macOf(ip: string): string {
  const address = parseIp(ip);
  if (address?.family !== 4) throw new RangeError(`${ip}: expected an IPv4 address`);
  const hex = address.value.toString(16).padStart(8, '0');
  return `0a:58:${hex.replace(/..(?=.)/g, '$&:')}`;
}
