/**
 * The underlay: the namespace `dp-outside` with a bridge, one namespace for each node, and a veth pair between them.
 * All devices are created inside these namespaces, none in the host's own.
 *
 *   dp-outside: underlay (bridge, 172.18.0.1/24) ── to-n1 ═══ eth0 (172.18.0.11/24) :dp-node-n1
 *                                                └─ to-n2 ═══ eth0 (172.18.0.12/24) :dp-node-n2
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { type ClusterOptions, overlayOverhead } from '../api/cluster-options.ts';
import { IpCommandError, runIpBatch } from '../linux/ip-command.ts';
import { gatewayOf, prefixOf } from '../net/pod-network.ts';
import { ClusterError } from './errors.ts';
import { nodeNetns, OUTSIDE } from './network-namespaces.ts';
import type { ClusterNode } from './state.ts';

const ETHERNET_MTU = 1500;

/** The MTU that the underlay needs for the requested MTU of pods. */
export function underlayMtuFor({ mtu, overlay }: ClusterOptions): number {
  return Math.min(65535, Math.max(ETHERNET_MTU, mtu === 0 ? 0 : mtu + overlayOverhead(overlay)));
}

/**
 * Creates the namespaces of the outside and of all nodes. After a failure, `tearDown` removes what was created.
 * @throws ClusterError NETWORK
 */
export async function makeNamespaces(nodes: readonly ClusterNode[]): Promise<void> {
  const names = [OUTSIDE, ...nodes.map(({ name }) => nodeNetns(name))];
  await orNetworkError(addNamespaces(names));
}

/** Creates all devices and addresses in the namespaces, which exist. @throws ClusterError NETWORK */
export async function makeUnderlay(nodes: readonly ClusterNode[], underlayCidr: string, mtu: number): Promise<void> {
  await orNetworkError(makeDevices(nodes, underlayCidr, mtu));
}

async function orNetworkError(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof IpCommandError)) throw error;
    throw new ClusterError('NETWORK', `the network could not be created: ${error.message}`);
  }
}

function addNamespaces(names: readonly string[]): Promise<void> {
  return runIpBatch(
    [],
    names.map((name) => `netns add ${name}`),
  );
}

async function makeDevices(nodes: readonly ClusterNode[], underlayCidr: string, mtu: number): Promise<void> {
  const [gateway, prefix] = [gatewayOf(underlayCidr), prefixOf(underlayCidr)];
  await runIpBatch(
    ['-n', OUTSIDE],
    [
      'link set lo up',
      `link add underlay mtu ${mtu} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
      `address add ${gateway}/${prefix} dev underlay`,
      'link set underlay up',
    ],
  );
  await connectNodes(nodes, underlayCidr, mtu);
  await passBridgeFilter();
}

/**
 * Creates the namespace of a node that is not the cluster's own, and its eth0 on the underlay, which exists.
 * @throws IpCommandError
 */
export async function addNode(
  node: Pick<ClusterNode, 'name' | 'ip'>,
  underlayCidr: string,
  mtu: number,
): Promise<void> {
  await addNamespaces([nodeNetns(node.name)]);
  await connectNodes([node], underlayCidr, mtu);
}

async function connectNodes(
  nodes: readonly Pick<ClusterNode, 'name' | 'ip'>[],
  underlayCidr: string,
  mtu: number,
): Promise<void> {
  const [gateway, prefix] = [gatewayOf(underlayCidr), prefixOf(underlayCidr)];
  await runIpBatch(
    ['-n', OUTSIDE],
    nodes.flatMap(({ name }) => [
      `link add ${wire(name)} mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${nodeNetns(name)}`,
      `link set ${wire(name)} master underlay up`,
    ]),
  );
  await Promise.all(
    nodes.map(({ name, ip }) =>
      runIpBatch(
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

/** The bridge's end of a node's veth pair. */
const wire = (node: string): string => `to-${node}`;

/**
 * If br_netfilter is loaded (Docker loads it), every frame on a bridge also passes the netfilter hooks of IP. The
 * underlay's bridge represents a switch, so these are turned off.
 */
async function passBridgeFilter(): Promise<void> {
  // Without the module there is nothing to do; it shows in every namespace.
  if (!existsSync('/proc/sys/net/bridge')) return;
  const script = 'for file in /proc/sys/net/bridge/bridge-nf-call-*; do echo 0 > "$file"; done';
  await new Promise<void>((resolve) => {
    execFile('ip', ['netns', 'exec', OUTSIDE, 'sh', '-c', script], { timeout: 5000 }, () => resolve());
  });
}
