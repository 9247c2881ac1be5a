/**
 * What the node's kernel does with an address that is no pod's and no other node's pod network: it delivers it to the
 * node's own sockets, or sends it out by some device. A copy of the kernel's routes, which the agent keeps by netlink
 * (src/agent/underlay/host-routes.ts). Read for the first packet of a connection only: the flow remembers the hop.
 *
 * A host route leads to LOCAL (RouteWord.HOP), or to the number of the source address that masqueraded connections take.
 * Only routes that differ from the one around them are kept; where none matches, the source is the node's own address.
 *
 * Read before editing: linux net/netfilter/nf_nat_masquerade.c (the source is the address of the device the packet leaves
 * by), net/ipv4/fib_frontend.c inet_addr_type.
 */
import { ADDRESS_WORDS, copyAddress, Scope, sameAddress, scopeOf } from '../shared/address.ts';
import { MAX_SOURCES, type NodeTable, NodeWord, SOURCE_WORDS } from './config.ts';
import { NO_HOP } from './hops.ts';
import { findLongest } from './routes.ts';

/** Where a host route leads that is of the kernel's local table. No source has this number. */
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

/** Source that a masqueraded connection to `target` takes. @param into four words, filled with it */
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
