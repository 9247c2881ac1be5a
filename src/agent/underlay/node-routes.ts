/** The node's routes to dp0 and to the pods of other nodes: those that are wanted, and those that there are. */
import { ipOutput } from '../../linux/ip-command.ts';
import { gatewayOf } from '../../net/pod-network.ts';
import { isRoutedByKernel } from '../overlay/node-overlay.ts';
import type { HostNetworkOptions } from './host-options.ts';
import { LOOPBACK } from './host-rules.ts';
import { HOST_DEVICE, NODES_TABLE, TO_DP0_TABLE } from './rule-order.ts';

const MAIN_TABLE = '254';
/** A route to a single address in the main table or in TO_DP0_TABLE, in the form of presentRoutes(). */
const SINGLE_ADDRESS: RegExp = /^(254|100) [\d.]+$/;

/** A route to dp0. */
export interface RouteToDp0 {
  readonly to: string;
  /** Number of its table. */
  readonly table: string;
  /** More arguments of `ip route`. */
  readonly words: string;
}

/** Addresses that the routes depend on. */
export interface RoutedAddresses {
  /** Addresses of the node's devices, each with the source of the node's own sockets toward it. */
  readonly local: ReadonlyMap<string, string>;
  /** External and load-balancer addresses of services. */
  readonly services: ReadonlySet<string>;
}

/** The routes to dp0. */
export function wantedRoutes(
  { podCIDR, clusterCIDR, serviceCIDR }: Pick<HostNetworkOptions, 'podCIDR' | 'clusterCIDR' | 'serviceCIDR'>,
  { local, services }: RoutedAddresses,
): RouteToDp0[] {
  const table = `${TO_DP0_TABLE}`;
  return [
    ...[clusterCIDR, serviceCIDR, ...services].map((to) => ({
      to,
      table: MAIN_TABLE,
      words: `src ${gatewayOf(podCIDR)}`,
    })),
    { to: 'default', table, words: '' },
    // Connections from the node to itself keep the source address that they would have without dp0.
    { to: LOOPBACK, table, words: 'src 127.0.0.1' },
    ...[...local].map(([to, from]) => ({ to, table, words: `src ${from}` })),
  ];
}

/** The arguments of `ip route replace`. */
export function routeArguments({ to, table, words }: RouteToDp0): string {
  return `${to} dev ${HOST_DEVICE} table ${table} ${words}`.trimEnd();
}

/** dp0's routes as `<table> <destination>`. */
export function presentRoutes(): Set<string> {
  const routes = JSON.parse(
    ipOutput(['-N', '-4', '-j', 'route', 'show', 'table', 'all', 'dev', HOST_DEVICE]) || '[]',
  ) as { dst: string; table?: string }[];
  return new Set(routes.map(({ dst, table }) => `${table ?? MAIN_TABLE} ${dst}`));
}

/** A route as `ip -N -j route` prints it: the properties that are used here. */
interface ShownRoute {
  readonly dst: string;
  readonly gateway?: string;
  readonly dev?: string;
}

/** The routes of a table. `ip` fails for a table that was never used, so all tables are listed. @throws IpCommandError */
export function routesOfTable(number: number): ShownRoute[] {
  const all = JSON.parse(ipOutput(['-N', '-4', '-j', 'route', 'show', 'table', 'all']) || '[]') as (ShownRoute & {
    readonly table?: string;
  })[];
  return all.filter(({ table }) => table === `${number}`);
}

/** The routes of NODES_TABLE: network and gateway. */
export function presentNodeRoutes(): Map<string, string> {
  return new Map(routesOfTable(NODES_TABLE).map(({ dst, gateway = '' }) => [dst, gateway]));
}

/**
 * Commands that add the missing routes to dp0 and remove those to former service addresses.
 * @param local addresses of the node's devices, as RoutedAddresses has them
 * @param services external and load-balancer addresses of services; undefined until they are known
 */
export function dp0RouteCommands(
  options: HostNetworkOptions,
  local: ReadonlyMap<string, string>,
  services: ReadonlySet<string> | undefined,
): string[] {
  const present = presentRoutes();
  const all = wantedRoutes(options, { local, services: services ?? new Set() });
  const missing = all.filter(({ to, table }) => !present.has(`${table} ${to}`));
  const wanted = new Set(all.map(({ to, table }) => `${table} ${to}`));
  // Routes to single addresses belong to services and to the node's own addresses; any other is stale.
  const isStale = (route: string) => SINGLE_ADDRESS.test(route) && !wanted.has(route);
  const stale = services === undefined ? [] : [...present].filter(isStale);
  return [
    ...missing.map((route) => `route replace ${routeArguments(route)}`),
    ...stale.map((route) => `route del ${route.split(' ')[1]} dev ${HOST_DEVICE} table ${route.split(' ')[0]}`),
  ];
}

/**
 * Commands that correct the routes to other nodes' pod networks.
 * @param nodeRoutes node address by pod network
 */
export function nodeRouteCommands(options: HostNetworkOptions, nodeRoutes: ReadonlyMap<string, string>): string[] {
  if (!isRoutedByKernel(options)) return [];
  const present = presentNodeRoutes();
  const table = `dev ${options.underlayDevice} table ${NODES_TABLE}`;
  return [
    ...[...nodeRoutes]
      .filter(([to, via]) => present.get(to) !== via)
      .map(([to, via]) => `route replace ${to} via ${via} ${table}`),
    ...[...present.keys()].filter((to) => !nodeRoutes.has(to)).map((to) => `route del ${to} ${table}`),
  ];
}
