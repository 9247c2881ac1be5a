/**
 * Computes the host routes of the node table (native-free-dataplane/node/host-routes.ts) and the addresses for the
 * policy routing rules, from the node's routes, rules and addresses. Pure.
 */
import {
  type DeviceAddress,
  type KernelRoute,
  type KernelRule,
  LOCAL_TABLE,
  RouteType,
} from '../../linux/routing-table.ts';
import { isWithin, outwardRoutes } from './rule-routes.ts';

/** A host route: local delivery, or forwarding with a source address for masqueraded connections. */
export interface HostRoute {
  /** As a 32-bit word. */
  readonly network: number;
  readonly prefix: number;
  /** Source address of masqueraded connections, as a 32-bit word; undefined for local delivery. */
  readonly source: number | undefined;
}

/** A node's routes and addresses, as far as the data plane needs them. */
export interface HostRouting {
  /** Shortest prefix first. */
  readonly routes: readonly HostRoute[];
  /** Addresses of the node's devices, without those of loopback and dp0. */
  readonly addresses: readonly LocalAddress[];
  /**
   * Routes within the underlay network, except the plain connected route: the shortcut leaves their packets to the
   * kernel.
   */
  readonly ownRoutes: readonly { readonly network: number; readonly prefix: number }[];
}

/** An address of the node, and the source that the node's own sockets use toward it, as 32-bit words. */
export interface LocalAddress {
  readonly address: number;
  readonly source: number;
}

/** The node's address, and the prefix length of its network. */
export interface NodeAddress {
  readonly address: number;
  readonly prefix: number;
}

const LOOPBACK = 127;

/**
 * The host routes and addresses of a node.
 * @param node its address is the default source of masqueraded connections
 * @param dp0 index of dp0: routes to it are ignored
 * @param rules in ascending preference; by default those of a new namespace
 */
export function hostRoutingOf(
  kernelRoutes: readonly KernelRoute[],
  addresses: readonly DeviceAddress[],
  node: NodeAddress,
  dp0: number,
  rules?: readonly KernelRule[],
): HostRouting {
  const nodeAddress = node.address;
  const local = kernelRoutes.filter(
    ({ table, type, network, device }) =>
      table === LOCAL_TABLE && type === RouteType.LOCAL && network >>> 24 !== LOOPBACK && device !== dp0,
  );
  const routes: HostRoute[] = [];
  for (const route of outwardRoutes(kernelRoutes, rules, dp0)) {
    const source = sourceOf(route, addresses) ?? nodeAddress;
    if (source !== sourceAround(routes, route, nodeAddress)) {
      routes.push({ network: route.network, prefix: route.prefix, source });
    }
  }
  for (const { network, prefix } of local) routes.push({ network, prefix, source: undefined });
  return {
    routes: routes.sort((a, b) => a.prefix - b.prefix),
    ownRoutes: kernelRoutes.filter(
      ({ table, network, prefix, metrics, device }) =>
        table !== LOCAL_TABLE &&
        device !== dp0 &&
        isWithin(network, node.address, node.prefix) &&
        (prefix > node.prefix || (prefix === node.prefix && metrics)),
    ),
    addresses: local
      .filter(({ prefix }) => prefix === 32)
      .map(({ network, source }) => ({ address: network, source: source === 0 ? network : source })),
  };
}

/** Source that the network would have without a route of its own, by `routes`, which has all shorter prefixes. */
function sourceAround(routes: readonly HostRoute[], { network, prefix }: KernelRoute, nodeAddress: number): number {
  let source = nodeAddress;
  for (const route of routes) {
    if (route.prefix < prefix && isWithin(network, route.network, route.prefix)) source = route.source ?? nodeAddress;
  }
  return source;
}

/**
 * The address with which the kernel would masquerade packets that leave by this route (linux net/ipv4/devinet.c
 * inet_select_addr, scope universe): a primary address of the device in the network of the next hop, which is the gateway
 * or the destination itself, else the device's first; undefined if it has none.
 */
function sourceOf(route: KernelRoute, addresses: readonly DeviceAddress[]): number | undefined {
  const usable = addresses.filter((one) => one.device === route.device && !one.secondary && one.scope === 0);
  const nextHop = route.gateway === 0 ? route.network : route.gateway;
  const near = usable.find(({ peer, prefix }) => isWithin(nextHop, peer, prefix));
  return (near ?? usable[0])?.address;
}
