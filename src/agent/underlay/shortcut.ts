/**
 * The shortcut between the underlay device and dp0: nftables moves the data plane's frames from one device to the other
 * at ingress, without routing them (linux net/netfilter/nft_fwd_netdev.c). Overlay packets are moved to dp1. The rules and routes of host-network.ts have
 * the same effect and stay in place, for frames that the shortcut does not cover (fragments, outgoing super-packets,
 * destinations behind a router) and for kernels without nftables.
 *
 * For each small frame it saves the route look-ups and the forwarding in the node's kernel, a fifth of the frame's
 * total cost.
 */
import { spawnSync } from 'node:child_process';
import { PRIVILEGED_PORTS } from '../../../native-free-dataplane/node/config.ts';
import { parseCidr, printIp } from '../../net/address.ts';
import type { RoutedPort } from './host-options.ts';
import { hostPortMatches } from './host-port-matches.ts';
import { keptRules } from './kept-flows.ts';

/** Name of our nftables tables. */
export const NFT_TABLE = 'dataplane';
const TABLE = NFT_TABLE;
const NEIGHBOURS = 'neighbours';
/** Bits of `ip frag-off` that a fragment has: more fragments, and the offset. */
const FRAGMENT = '0x3fff';

/** What the shortcut moves, and between which devices. */
export interface ShortcutOptions {
  readonly nodeIP: string;
  /** Prefix length of the node's address: the network that is reached without a router. */
  readonly prefix: number;
  /** Address of dp0: the pods' gateway. */
  readonly gateway: string;
  /** Networks of pods and services. */
  readonly clusterNetworks: readonly string[];
  readonly underlayDevice: string;
  readonly underlayMtu: number;
  readonly hostDevice: string;
  /** Receives the overlay's packets. */
  readonly overlayDevice: string;
  /** Addresses of the node's devices: packets to them are left to the kernel, which delivers them. */
  readonly localAddresses: readonly string[];
  /** Addresses on the underlay whose MAC the kernel knows. */
  readonly neighbours: readonly string[];
  /** Parts of the underlay network with routes of their own: packets to them are left to the kernel. */
  readonly routedNetworks: readonly string[];
  /** nft matches for the overlay's packets; none if a raw socket receives them. */
  readonly overlayMatches: readonly string[];
  /** Ports of pods on addresses of the node. */
  readonly hostPorts: readonly RoutedPort[];
  readonly nodePortRange: readonly [number, number];
  readonly masqueradePorts: readonly [number, number];
  /** Connections that the kernel goes on translating (kept-flows.ts). */
  readonly kept: readonly string[];
}

/**
 * The rules, as input of `nft -f`. Outgoing packets that fail ip_forward's checks of TTL and MTU are left to the
 * kernel, which sends the ICMP error. So are packets to a neighbour whose MAC is unknown: `fwd` would drop them
 * silently; and those with the address of a pod or service as their source, which the node's own rules may have
 * translated (firewall.ts). Incoming frames that are addressed to another machine's MAC, or have a source that no other
 * host may use, are left to the kernel, which drops them (linux ip_rcv PACKET_OTHERHOST, fib_validate_source). So are
 * fragments: a later one has payload where `th dport` looks for a port, and if the node tracks connections, the kernel
 * needs all fragments at the device on which the first arrived.
 */
export function shortcutRules(options: ShortcutOptions): string {
  const { nodeIP, prefix, gateway, underlayDevice, underlayMtu, hostDevice, overlayDevice } = options;
  const ranges = [PRIVILEGED_PORTS, options.nodePortRange, options.masqueradePorts]
    .map(([low, high]) => `${low}-${high}`)
    .join(', ');
  const ports = `ip daddr ${nodeIP} meta l4proto { tcp, udp, sctp } th dport { ${ranges} }`;
  const staying = [...new Set([nodeIP, broadcastOf(nodeIP, prefix), ...options.localAddresses])];
  const routed = options.routedNetworks.map((network) => `ip daddr ${network} accept`);
  const toUs = [
    ...options.overlayMatches.map((match) => `${match} fwd to "${overlayDevice}"`),
    ...[ports, ...hostPortMatches(options.hostPorts, [nodeIP])].map((match) => `${match} fwd to "${hostDevice}"`),
  ];
  const kept = keptRules(options.kept);
  return `
table netdev ${TABLE} {
  ${kept.set}
  set ${NEIGHBOURS} { type ipv4_addr; }
  chain from-the-wire {
    type filter hook ingress device "${underlayDevice}" priority 0; policy accept;
    meta pkttype != host accept
    ip frag-off & ${FRAGMENT} != 0 accept
    ip saddr { ${[...staying, gateway].join(', ')} } accept
    ${kept.rules}${toUs.join('\n    ')}
  }
  chain from-us {
    type filter hook ingress device "${hostDevice}" priority 0; policy accept;
    ip daddr { ${staying.join(', ')} } accept
    ip saddr { ${options.clusterNetworks.join(', ')} } accept
    ${routed.join('\n    ')}
    ip daddr @${NEIGHBOURS} ip ttl > 1 meta length <= ${underlayMtu} fwd ip to ip daddr device "${underlayDevice}"
  }
}
`;
}

/** Replace the neighbours. @returns why it failed, for example because the shortcut is not installed */
export function setShortcutNeighbours(neighbours: readonly string[]): string | undefined {
  return nft(`flush set netdev ${TABLE} ${NEIGHBOURS}\n${elements(neighbours)}`);
}

function elements(neighbours: readonly string[]): string {
  return neighbours.length === 0 ? '' : `add element netdev ${TABLE} ${NEIGHBOURS} { ${neighbours.join(', ')} }\n`;
}

/** The network's broadcast address, which has no neighbour entry. */
function broadcastOf(ip: string, prefix: number): string {
  return printIp({ family: 4, value: parseCidr(`${ip}/${prefix}`)!.last });
}

/** Input of `nft -f` that removes the shortcut, if it is installed. */
// Create the table before deleting it, so that the deletion cannot fail: nft runs all commands or none.
export const NO_SHORTCUT = `table netdev ${TABLE}\ndelete table netdev ${TABLE}\n`;

/** Input of `nft -f` that installs the shortcut, replacing a previous one. */
export function shortcutCommands(options: ShortcutOptions): string {
  return `${NO_SHORTCUT}${shortcutRules(options)}${elements(options.neighbours)}`;
}

/** Run nft commands, all or none. @returns why it failed; undefined on success */
export function nft(commands: string): string | undefined {
  const { error, status, stderr } = spawnSync('nft', ['-f', '-'], { input: commands, encoding: 'utf8' });
  if (error) return `nft: ${error.message}`;
  return status === 0 ? undefined : stderr.trim().split('\n')[0] || 'nft failed';
}
