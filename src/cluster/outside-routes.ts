/**
 * Routes of the outside (namespace dp-outside) to services' external and load-balancer addresses, as of a router in
 * front of the cluster. Connections to an address are spread over its nodes (ECMP).
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import type { OutsideRoutes } from '../controllers/services/outside-routes.ts';
import { runIpBatch } from '../linux/ip-command.ts';
import { OUTSIDE } from './network-namespaces.ts';

const run = promisify(execFile);
/** Identifies our routes (iproute2 `proto`; 200 is unassigned). */
const PROTOCOL = '200';
/** Hash ports too, not only addresses, to choose the next hop (linux ip-sysctl, fib_multipath_hash_policy). */
const BY_CONNECTION = 'echo 1 > /proc/sys/net/ipv4/fib_multipath_hash_policy';

/**
 * Returns a function that installs a set of routes; calls are serialized. Undefined if the namespace does not exist.
 */
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
