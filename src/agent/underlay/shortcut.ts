/**
 * The short way between the node's wire and dp0: frames for us go from the one device to the other where they arrive,
 * past the node's routing (linux net/netfilter/nft_fwd_netdev.c). The rules and routes of host-network.ts do the same and
 * stay in place: they carry what the short way leaves to them (fragments, super-packets on the way out, addresses behind
 * a router), and everything where the kernel or nftables cannot do it.
 *
 * Per small frame it saves the node's route look-ups and its forwarding, a fifth of what the frame costs the machine.
 */
import { spawnSync } from 'node:child_process';
import { PRIVILEGED_PORTS } from '../../../native-free-dataplane/node/config.ts';
import { parseCidr, printIp } from '../../net/address.ts';

/** Name of our nftables tables. */
export const NFT_TABLE = 'dataplane';
const TABLE = NFT_TABLE;
const NEIGHBOURS = 'neighbours';

export interface ShortcutOptions {
  readonly nodeIP: string;
  /** Prefix length of the node's address: whom its wire reaches without a router. */
  readonly prefix: number;
  /** Address of dp0, the pods' router. */
  readonly gateway: string;
  readonly underlayDevice: string;
  readonly underlayMtu: number;
  readonly hostDevice: string;
  /** Addresses of the node's devices: what is sent to them is delivered here. */
  readonly localAddresses: readonly string[];
  /** Addresses on the wire whose link addresses the kernel knows. */
  readonly neighbours: readonly string[];
  /** Networks on the wire for which the node has routes of its own: what is sent there is left to them. */
  readonly routedNetworks: readonly string[];
  /** What of the overlay comes in by dp0, as nft matches. */
  readonly overlayMatches: readonly string[];
  readonly nodePortRange: readonly [number, number];
  readonly masqueradePorts: readonly [number, number];
}

/**
 * The rules, as `nft -f` reads them. On the way out TTL and MTU are checked as ip_forward does; packets that fail are
 * left to it, which sends the ICMP error. So are packets to a neighbour that the kernel has not found: `fwd` would drop them
 * in silence. On the way in, what is addressed to another machine's MAC or has a source that nobody on the wire may have is
 * left to the kernel, which drops it (linux ip_rcv PACKET_OTHERHOST, fib_validate_source).
 */
export function shortcutRules(options: ShortcutOptions): string {
  const { nodeIP, prefix, gateway, underlayDevice, underlayMtu, hostDevice } = options;
  const ranges = [PRIVILEGED_PORTS, options.nodePortRange, options.masqueradePorts]
    .map(([low, high]) => `${low}-${high}`)
    .join(', ');
  const ports = `ip daddr ${nodeIP} meta l4proto { tcp, udp, sctp } th dport { ${ranges} }`;
  const staying = [...new Set([nodeIP, broadcastOf(nodeIP, prefix), ...options.localAddresses])];
  const routed = options.routedNetworks.map((network) => `ip daddr ${network} accept`);
  const toDp0 = [...options.overlayMatches, ports].map((match) => `${match} fwd to "${hostDevice}"`);
  return `
table netdev ${TABLE} {
  set ${NEIGHBOURS} { type ipv4_addr; }
  chain from-the-wire {
    type filter hook ingress device "${underlayDevice}" priority 0; policy accept;
    meta pkttype != host accept
    ip saddr { ${[...staying, gateway].join(', ')} } accept
    ${toDp0.join('\n    ')}
  }
  chain from-us {
    type filter hook ingress device "${hostDevice}" priority 0; policy accept;
    ip daddr { ${staying.join(', ')} } accept
    ${routed.join('\n    ')}
    ip daddr @${NEIGHBOURS} ip ttl > 1 meta length <= ${underlayMtu} fwd ip to ip daddr device "${underlayDevice}"
  }
}
`;
}

/** Replace the neighbours. @returns why it failed, as when the short way is not there */
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

/** Install the short way, replacing a former one. @returns why it cannot be installed; undefined when it is */
export function makeShortcut(options: ShortcutOptions): string | undefined {
  // Created first, so that there is one to delete: nft carries out all of it or nothing.
  return nft(
    `table netdev ${TABLE}\ndelete table netdev ${TABLE}\n${shortcutRules(options)}${elements(options.neighbours)}`,
  );
}

/** Remove it; does nothing when there is none. */
export function removeShortcut(): void {
  nft(`table netdev ${TABLE}\ndelete table netdev ${TABLE}\n`);
}

/** Carry out nft commands, all or none. @returns why it failed; undefined when it did not */
export function nft(commands: string): string | undefined {
  const { error, status, stderr } = spawnSync('nft', ['-f', '-'], { input: commands, encoding: 'utf8' });
  if (error) return `nft: ${error.message}`;
  return status === 0 ? undefined : stderr.trim().split('\n')[0] || 'nft failed';
}
