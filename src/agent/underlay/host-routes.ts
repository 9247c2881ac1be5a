/**
 * The node's routes and addresses → the host routes of the node table (native-free-dataplane/node/host-routes.ts), and the
 * addresses whose packets the rules bring to dp0. Pure.
 *
 * The kernel's main and default tables are followed. Routes that rules of the administrator choose by other tables are not:
 * what leaves by them is masqueraded as if it left by the main table.
 */
import {
  DEFAULT_TABLE,
  type DeviceAddress,
  type KernelRoute,
  LOCAL_TABLE,
  MAIN_TABLE,
  RouteType,
} from '../../linux/routing-table.ts';

/** A host route: to the node itself, or outward with a source address. */
export interface HostRoute {
  /** As a 32-bit word. */
  readonly network: number;
  readonly prefix: number;
  /** Source address of masqueraded connections, as a 32-bit word; undefined: the node delivers it itself. */
  readonly source: number | undefined;
}

export interface HostRouting {
  /** Shortest prefix first. */
  readonly routes: readonly HostRoute[];
  /** Addresses of the node's devices but loopback's and dp0's. */
  readonly addresses: readonly LocalAddress[];
  /** Routes within the network of the node's address that are not just the network on its wire. */
  readonly ownRoutes: readonly { readonly network: number; readonly prefix: number }[];
}

/** An address of the node, and the one from which the node's own sockets talk to it. As 32-bit words. */
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

const maskOf = (prefix: number): number => (prefix === 0 ? 0 : -1 << (32 - prefix));
const isWithin = (address: number, network: number, prefix: number): boolean =>
  ((address ^ network) & maskOf(prefix)) === 0;

/**
 * @param node its address is the source where no route gives another
 * @param dp0 number of our own device: what is routed there never leaves by a device
 */
export function hostRoutingOf(
  kernelRoutes: readonly KernelRoute[],
  addresses: readonly DeviceAddress[],
  node: NodeAddress,
  dp0: number,
): HostRouting {
  const nodeAddress = node.address;
  const local = kernelRoutes.filter(
    ({ table, type, network, device }) =>
      table === LOCAL_TABLE && type === RouteType.LOCAL && network >>> 24 !== LOOPBACK && device !== dp0,
  );
  const outward = kernelRoutes
    .filter(
      ({ table, type, device }) =>
        (table === MAIN_TABLE || table === DEFAULT_TABLE) && type === RouteType.UNICAST && device !== dp0,
    )
    // Of several routes to a network the kernel takes the main table's, then the lowest metric.
    .sort((a, b) => a.prefix - b.prefix || b.table - a.table || a.priority - b.priority);
  const routes: HostRoute[] = [];
  const seen = new Set<string>();
  for (const route of outward) {
    const key = `${route.network}/${route.prefix}`;
    if (seen.has(key)) continue;
    seen.add(key);
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

/** What an address of the network would have without a route of its own. `routes` has all shorter prefixes. */
function sourceAround(routes: readonly HostRoute[], { network, prefix }: KernelRoute, nodeAddress: number): number {
  let source = nodeAddress;
  for (const route of routes) {
    if (route.prefix < prefix && isWithin(network, route.network, route.prefix)) source = route.source ?? nodeAddress;
  }
  return source;
}

/**
 * The address of the route's device that the kernel would masquerade with (linux net/ipv4/devinet.c inet_select_addr for
 * scope universe): a primary one in the gateway's network, else the device's first; undefined when it has none.
 */
function sourceOf({ device, gateway }: KernelRoute, addresses: readonly DeviceAddress[]): number | undefined {
  const usable = addresses.filter((one) => one.device === device && !one.secondary && one.scope === 0);
  const near = gateway === 0 ? undefined : usable.find(({ address, prefix }) => isWithin(gateway, address, prefix));
  return (near ?? usable[0])?.address;
}
