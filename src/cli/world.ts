/**
 * The cluster's ground: `dp-outside` with the underlay's bridge, a namespace for every node, and the wires between them.
 * Devices are made inside the namespaces; the host's own gets nothing.
 *
 *   dp-outside: underlay (bridge, 172.18.0.1/24) ── to-n1 ═══ eth0 (172.18.0.11/24) :dp-node-n1
 *                                                └─ to-n2 ═══ eth0 (172.18.0.12/24) :dp-node-n2
 */
import { type ChildProcess, execFile } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { parseCidr, printIp } from '../api/addresses.ts';
import { failed } from './errors.ts';
import type { ClusterNode } from './state.ts';

export const OUTSIDE = 'dp-outside';
export const nodeNetns = (node: string): string => `dp-node-${node}`;

/** The first node's address is the network's first plus this. */
const FIRST_NODE = 11n;
/** So that outside, nodes and broadcast fit in a /24. */
export const MAX_NODES = 200;

/** Names, addresses and pod networks of `count` nodes. Node i has the i-th /24 of the pods' network. */
export function planNodes(count: number, podCidr: string, underlayCidr: string): ClusterNode[] {
  const pods = parseCidr(podCidr)!;
  const underlay = parseCidr(underlayCidr)!;
  return Array.from({ length: count }, (_, i) => {
    // A network that is a single /24 belongs to the only node.
    const network = pods.first + (pods.prefix === 24 ? 0n : BigInt(i + 1) * 256n);
    return {
      name: `n${i + 1}`,
      ip: printIp({ family: 4, value: underlay.first + FIRST_NODE + BigInt(i) }),
      podCIDR: `${printIp({ family: 4, value: network })}/24`,
    };
  });
}

/** How many nodes a pods' network has room for. */
export function roomForNodes(podCidr: string): number {
  const { prefix } = parseCidr(podCidr)!;
  return Math.min(MAX_NODES, prefix >= 24 ? 1 : 2 ** (24 - prefix) - 1);
}

/** Can this machine do it at all? @throws CliError that says what is missing */
export function checkMachine(): void {
  const program = (name: string, pkg: string) => {
    const found = `${process.env.PATH ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin`.split(':').some((directory) => {
      try {
        accessSync(`${directory}/${name}`, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
    if (!found) throw failed(`the program \`${name}\` is missing`, `apt install ${pkg}`);
  };
  program('ip', 'iproute2');
  if (!existsSync('/proc/self/ns/net'))
    throw failed('this kernel has no network namespaces', 'CONFIG_NET_NS is needed');
  if (!existsSync('/dev/net/tun')) {
    const container = existsSync('/.dockerenv') || existsSync('/run/.containerenv');
    throw failed(
      '/dev/net/tun is missing',
      container ? 'run the container with --device /dev/net/tun --privileged' : '`modprobe tun` makes it',
    );
  }
  const capabilities = BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`);
  for (const [name, bit] of [
    ['CAP_SYS_ADMIN', 21n],
    ['CAP_NET_ADMIN', 12n],
  ] as const) {
    if ((capabilities & (1n << bit)) === 0n) {
      throw failed(`root here lacks ${name}`, 'run it on the machine itself, or the container with --privileged');
    }
  }
}

/** Makes all namespaces, devices and addresses. Not undone when it fails half-way: that is `tearDown`'s. */
export async function makeWorld(nodes: readonly ClusterNode[], underlayCidr: string, mtu: number): Promise<void> {
  const { first, prefix } = parseCidr(underlayCidr)!;
  const gateway = printIp({ family: 4, value: first + 1n });
  await ipBatch(
    [],
    [OUTSIDE, ...nodes.map(({ name }) => nodeNetns(name))].map((netns) => `netns add ${netns}`),
  );
  await ipBatch(
    ['-n', OUTSIDE],
    [
      'link set lo up',
      `link add underlay mtu ${mtu} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
      `address add ${gateway}/${prefix} dev underlay`,
      'link set underlay up',
      ...nodes.flatMap(({ name }) => [
        `link add ${wire(name)} mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${nodeNetns(name)}`,
        `link set ${wire(name)} master underlay up`,
      ]),
    ],
  );
  await passBridgeFilter();
  await Promise.all(
    nodes.map(({ name, ip }) =>
      ipBatch(
        ['-n', nodeNetns(name)],
        [
          'link set lo up',
          `address add ${ip}/${prefix} dev eth0`,
          'link set eth0 up',
          `route add default via ${gateway}`,
        ],
      ),
    ),
  );
}

/**
 * Where br_netfilter is loaded (Docker loads it) every frame on a bridge walks through IP's netfilter hooks as well. The
 * underlay's bridge stands for a switch, and a switch has none.
 */
function passBridgeFilter(): Promise<void> {
  const script = 'for file in /proc/sys/net/bridge/bridge-nf-call-*; do echo 0 > "$file"; done';
  return new Promise((resolve) => {
    // Without the module there is no such file, and nothing to do.
    execFile('ip', ['netns', 'exec', OUTSIDE, 'sh', '-c', script], { timeout: 5000 }, () => resolve());
  });
}

const wire = (node: string): string => `to-${node}`;

/** Runs many `ip` commands in one process. @throws CliError with what `ip` said */
export function ipBatch(options: readonly string[], commands: readonly string[], force = false): Promise<void> {
  return new Promise((resolve, reject) => {
    const words = [...options, ...(force ? ['-force'] : []), '-batch', '-'];
    const child: ChildProcess = execFile('ip', words, { timeout: 20_000 }, (error, _stdout, stderr) => {
      if (error === null || force) return resolve();
      const said = stderr.trim().split('\n');
      const at = /^Command failed -:(\d+)/.exec(said.at(-1) ?? '')?.[1];
      const command = at === undefined ? '' : ` (ip ${[...options, commands[Number(at) - 1]].join(' ')})`;
      reject(failed(`the network could not be made: ${said[0] || error.message}${command}`));
    });
    child.stdin!.on('error', () => {});
    child.stdin!.end(`${commands.join('\n')}\n`);
  });
}
