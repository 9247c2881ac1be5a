/** The routes of ours that a namespace has, by `ip route`. */
import { ipOutput } from '../../linux/ip-command.ts';
import { HOST_DEVICE, NODES_TABLE } from './rule-order.ts';

export const MAIN_TABLE = '254';
/** A route to a single address in the main table or in TO_DP0_TABLE, in the form of presentRoutes(). */
export const SINGLE_ADDRESS: RegExp = /^(254|100) [\d.]+$/;
/** dp0's routes as `<table> <destination>`. */
export function presentRoutes(): Set<string> {
  const routes = JSON.parse(
    ipOutput(['-N', '-4', '-j', 'route', 'show', 'table', 'all', 'dev', HOST_DEVICE]) || '[]',
  ) as { dst: string; table?: string }[];
  return new Set(routes.map(({ dst, table }) => `${table ?? MAIN_TABLE} ${dst}`));
}

/** The routes of NODES_TABLE: network and gateway. */
export function presentNodeRoutes(): Map<string, string> {
  // `ip` fails for a table that was never used, so all tables are listed.
  const all = JSON.parse(ipOutput(['-N', '-4', '-j', 'route', 'show', 'table', 'all']) || '[]') as {
    dst: string;
    gateway?: string;
    table?: string;
  }[];
  return new Map(all.filter(({ table }) => table === `${NODES_TABLE}`).map(({ dst, gateway = '' }) => [dst, gateway]));
}
