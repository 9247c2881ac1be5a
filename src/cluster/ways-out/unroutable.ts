/**
 * What the outside does with packets that it has no route for, and with those that leave the machine (`up --egress`). It is a
 * router's part: the namespace `dp-outside` stands for the network that the nodes are attached to.
 *
 * A packet without a route is refused with an ICMP error, so that a connection fails at once. An `unreachable` route would
 * not do: the kernel limits its errors to one a second for each source (linux net/ipv4/route.c, ip_error). The code is
 * "administratively prohibited": TCP and UDP sockets report it as "no route to host"; "network unreachable" is not reported
 * to UDP sockets (net/ipv4/icmp.c, icmp_err_convert).
 */
import { spawn } from 'node:child_process';
import { OUTSIDE } from '../network-namespaces.ts';

/** The device of the way out in `dp-outside`. */
export const WAY_OUT_DEVICE = 'egress0';
const TABLE = 'dataplane-outside';
const COUNTER = 'refused';

/** Input of `nft -f`. The way out has one address, so what leaves has to be masqueraded. */
const rules = (device: string): string => `
table ip ${TABLE} {
  counter ${COUNTER} { }
  chain unroutable {
    type filter hook prerouting priority filter; policy accept;
    iifname "underlay" fib daddr type unicast fib daddr oif missing counter name ${COUNTER} reject with icmp admin-prohibited
  }
  chain way-out {
    type nat hook postrouting priority srcnat; policy accept;
    oifname "${device}" masquerade
  }
}
`;

/**
 * @returns why it is not in force: packets without a route are then dropped silently, and nothing can leave; undefined if it
 * is
 */
export async function governOutside(egress: boolean): Promise<string | undefined> {
  // Errors are not limited for each destination: every pod of a node has the node's address here.
  const sysctls = [
    'echo 0 > /proc/sys/net/ipv4/icmp_ratelimit',
    ...(egress ? ['echo 1 > /proc/sys/net/ipv4/ip_forward'] : []),
  ];
  try {
    await inOutside(['sh', '-c', sysctls.join(' && ')]);
    await inOutside(['nft', '-f', '-'], rules(WAY_OUT_DEVICE));
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** How many packets were refused; undefined if that is not known. */
export async function refusedPackets(): Promise<number | undefined> {
  try {
    const text = await inOutside(['nft', '-j', 'list', 'counter', 'ip', TABLE, COUNTER]);
    const { nftables } = JSON.parse(text) as { nftables: { counter?: { packets: number } }[] };
    return nftables.find(({ counter }) => counter !== undefined)?.counter?.packets;
  } catch {
    return undefined;
  }
}

/** Has the outside a route to this address? */
export async function isRouted(address: string): Promise<boolean> {
  return inOutside(['ip', 'route', 'get', address]).then(
    () => true,
    () => false,
  );
}

/** Output of a program in `dp-outside`. @throws Error with its first line of error output */
function inOutside(command: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('nsenter', [`--net=/run/netns/${OUTSIDE}`, '--', ...command], { stdio: 'pipe' });
    const text = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (chunk: string) => {
        text[name] += chunk;
      });
    }
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(text.stdout);
      else reject(new Error(text.stderr.trim().split('\n')[0] || `${command[0]}: status ${code}`));
    });
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}
