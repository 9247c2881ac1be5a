/** What the Node object says about the size of its machine. */
import { availableParallelism, totalmem } from 'node:os';
import { Quantity } from '../api/quantity.ts';
import type { NodeObject } from '../api/types/objects.ts';
import { parseCidr } from '../net/address.ts';

export function nodeCapacity(podCIDR: string): Pick<NonNullable<NodeObject['status']>, 'capacity' | 'allocatable'> {
  const network = parseCidr(podCIDR);
  const capacity = {
    cpu: String(availableParallelism()),
    memory: String(Quantity.ofBytes(totalmem())),
    // All addresses except the network's own, the gateway's and the broadcast address.
    pods: String(network === undefined ? 0 : network.last - network.first - 2n),
  };
  return { capacity, allocatable: capacity };
}
