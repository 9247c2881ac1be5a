/**
 * Routes of the outside (namespace dp-outside) to services' external and load-balancer addresses: what a router in front
 * of the cluster would have. Several nodes share an address by connection.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import type { OutsideRoutes } from '../controllers/services/outside-routes.ts';
import { runIpBatch } from '../linux/ip-command.ts';
import { OUTSIDE } from './underlay.ts';

const run = promisify(execFile);
/** Marks our routes among others (iproute2 `proto`; 200 is unassigned). */
const PROTOCOL = '200';
/** Choose the next hop by ports too, not by addresses alone (linux ip-sysctl, fib_multipath_hash_policy). */
const BY_CONNECTION = 'echo 1 > /proc/sys/net/ipv4/fib_multipath_hash_policy';

/** Returns a function that puts a set of routes in force, one set after the other; undefined without that namespace. */
export function outsideRouter(log: (line: string) => void): ((routes: OutsideRoutes) => void) | undefined {
  const netns = `/run/netns/${OUTSIDE}`;
  if (!existsSync(netns)) return undefined;
  let work = run('nsenter', [`--net=${netns}`, 'sh', '-c', BY_CONNECTION]).then(
    () => undefined,
    (error: Error) => log(`outside: ${error.message}`),
  );
  return (routes) => {
    work = work.then(() => apply(routes)).catch((error: Error) => log(`outside: ${error.message}`));
  };
}

async function apply(routes: OutsideRoutes): Promise<void> {
  const { stdout } = await run('ip', ['-n', OUTSIDE, '-N', '-4', '-j', 'route', 'show', 'proto', PROTOCOL]);
  const present = (JSON.parse(stdout || '[]') as { dst: string }[]).map(({ dst }) => dst);
  const stale = present.filter((ip) => !routes.has(ip)).map((ip) => `route del ${ip} proto ${PROTOCOL}`);
  const wanted = [...routes].map(([ip, nodes]) => {
    const hops = nodes.map((node) => (nodes.length === 1 ? `via ${node}` : `nexthop via ${node}`)).join(' ');
    return `route replace ${ip} proto ${PROTOCOL} ${hops}`;
  });
  if (stale.length + wanted.length > 0) await runIpBatch(['-n', OUTSIDE], [...stale, ...wanted]);
}
