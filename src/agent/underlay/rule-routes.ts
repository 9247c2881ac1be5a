/**
 * The routes that the kernel uses for packets which dp0 hands to it, in the order of its policy routing rules (linux
 * net/core/fib_rules.c fib_rules_lookup, net/ipv4/fib_rules.c): the first table with a route for the destination decides.
 * VPNs (wg-quick) and multi-homed nodes have such rules. Pure.
 *
 * Rules that match what is not known here are left out: the source (the packets are masqueraded when the kernel sees
 * them), protocols, ports, devices. Marks are 0.
 */
import {
  DEFAULT_TABLE,
  type KernelRoute,
  type KernelRule,
  LOCAL_TABLE,
  MAIN_TABLE,
  RouteType,
} from '../../linux/routing-table.ts';
import { HOST_DEVICE, NODES_TABLE, TO_DP0_TABLE } from './rule-order.ts';

const maskOf = (prefix: number): number => (prefix === 0 ? 0 : -1 << (32 - prefix));

/** Does the network contain the address? */
export const isWithin = (address: number, network: number, prefix: number): boolean =>
  ((address ^ network) & maskOf(prefix)) === 0;

type Network = Pick<KernelRoute, 'network' | 'prefix'>;

/** Does the first network contain the whole second one? */
const contains = (one: Network, other: Network): boolean =>
  one.prefix <= other.prefix && isWithin(other.network, one.network, one.prefix);

/** The rules that every namespace has at first (linux net/ipv4/fib_rules.c fib_default_rules_init), except the local table's. */
const DEFAULT_RULES: readonly Partial<KernelRule>[] = [{ table: MAIN_TABLE }, { table: DEFAULT_TABLE }];
/** Tables whose routes are not outward: the kernel's own and the data plane's. */
const SKIPPED: readonly number[] = [LOCAL_TABLE, TO_DP0_TABLE, NODES_TABLE];

/**
 * Unicast routes by longest prefix, as the rules select them; of several to one network, the one in force.
 * @param rules in ascending preference; undefined: those of a new namespace
 * @param dp0 index of dp0: routes to it are ignored
 */
export function outwardRoutes(
  routes: readonly KernelRoute[],
  rules: readonly KernelRule[] | undefined,
  dp0: number,
): KernelRoute[] {
  const inForce: KernelRoute[] = [];
  for (const rule of rules ?? DEFAULT_RULES) {
    if (rule.table === undefined || SKIPPED.includes(rule.table) || !mayMatch(rule)) continue;
    // Routes of one table do not hide each other, but for one network: the lowest metric first.
    const hiding = [...inForce];
    const selected = routes
      .filter(({ table, type, device }) => table === rule.table && type === RouteType.UNICAST && device !== dp0)
      .filter(({ prefix }) => prefix > (rule.suppressed ?? -1))
      .sort((a, b) => a.priority - b.priority);
    for (const route of selected) {
      const part = within(route, rule.to);
      if (part === undefined || hiding.some((one) => contains(one, part))) continue;
      if (inForce.some(({ network, prefix }) => network === part.network && prefix === part.prefix)) continue;
      inForce.push(part);
    }
  }
  return inForce.sort((a, b) => a.prefix - b.prefix);
}

/** Does the rule apply to packets of dp0 without a mark? */
function mayMatch({
  conditional = false,
  mark = 0,
  maskedMark = 0,
  inverted = false,
  from,
}: Partial<KernelRule>): boolean {
  if (conditional || (from !== undefined && from !== HOST_DEVICE)) return false;
  return ((mark & maskedMark) === 0) !== inverted;
}

/** The part of a route that lies in a rule's destination; undefined if there is none. */
function within(route: KernelRoute, to: Network | undefined): KernelRoute | undefined {
  if (to === undefined || contains(to, route)) return route;
  return contains(route, to) ? { ...route, network: to.network, prefix: to.prefix } : undefined;
}
