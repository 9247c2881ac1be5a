/**
 * Host routes: what the node's kernel does with an address outside the pod networks, deliver it to the node's own
 * sockets or forward it. A copy of the kernel's routing tables that the agent maintains by netlink
 * (src/agent/underlay/host-routes.ts). Read only for the first packet of a connection; the flow stores the result.
 *
 * The value of a host route (RouteWord.HOP) is LOCAL, or the number of the source address for masqueraded connections.
 * Routes with the same value as the enclosing route are left out. Without a matching route, the source is the node's
 * address.
 *
 * Read before editing: linux net/netfilter/nf_nat_masquerade.c (the source is the address of the device the packet
 * leaves by), net/ipv4/fib_frontend.c inet_addr_type.
 */
import { ADDRESS_WORDS, copyAddress, Scope, sameAddress, scopeOf } from '../shared/address.ts';
import { MAX_SOURCES, type NodeTable, NodeWord, SOURCE_WORDS } from './config.ts';
import { NO_HOP } from './hops.ts';
import { findLongest } from './routes.ts';

/** Value of a host route from the kernel's local table. Larger than every source number. */
export const LOCAL: number = MAX_SOURCES;

/** Does the node deliver this address to its own sockets? The gateway, the node's addresses, loopback. */
export function isOwnAddress(node: NodeTable, address: Int32Array): boolean {
  const { config } = node;
  return (
    sameAddress(address, config, NodeWord.GATEWAY_IP) ||
    sameAddress(address, config, NodeWord.NODE_IP) ||
    scopeOf(address) === Scope.LOOPBACK ||
    findLongest(node.hostRoutes, address, 0) === LOCAL
  );
}

/** Are NodePorts and host ports open on this address? They are on the node's own, including loopback, except the gateway's. */
export function hasNodePorts(node: NodeTable, address: Int32Array): boolean {
  return isOwnAddress(node, address) && !sameAddress(address, node.config, NodeWord.GATEWAY_IP);
}

/** Source address of a masqueraded connection to `target`. @param into four words, filled with the address */
export function readSource(node: NodeTable, target: Int32Array, into: Int32Array): void {
  const source = findLongest(node.hostRoutes, target, 0);
  const { config, sources } = node;
  if (source === NO_HOP || source === LOCAL) copyAddress(config, NodeWord.NODE_IP, into);
  else copyAddress(sources, source * SOURCE_WORDS, into);
}

/** Write source number `source` (0 to MAX_SOURCES - 1). The agent calls it before any route names that number. */
export function setSource(node: NodeTable, source: number, address: Int32Array): void {
  for (let word = 0; word < ADDRESS_WORDS; word++) node.sources[source * SOURCE_WORDS + word] = address[word];
}
