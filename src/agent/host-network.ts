/**
 * The node's side of the data plane: dp0, and the policy routing that brings to it what is ours: overlay packets,
 * NodePorts, answers to masqueraded connections, traffic to pods and services. Plain routes and rules, no netfilter.
 *
 * Runs in the node's namespace. Everything is idempotent, so that whoever deletes a rule finds it repaired.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { ipBatch, ipOutput } from '../linux/ip-command.ts';
import { RoutingWatch } from '../linux/netlink.ts';
import { OffloadLevel, type Tap, openTap, removeTap } from '../linux/tap.ts';
import { gatewayOf, macOf } from './node-sync.ts';

export const HOST_DEVICE = 'dp0';
/** Routing table that leads to dp0, and the preferences of our rules. */
const TABLE = 100;
const PREF_FROM_US = 5;
const PREF_TO_US = 10;
const PREF_LOCAL = 100;

export interface HostNetworkOptions {
  readonly nodeIP: string;
  readonly podCIDR: string;
  readonly clusterCIDR: string;
  readonly serviceCIDR: string;
  readonly underlayDevice: string;
  readonly underlayMtu: number;
  readonly overlay: 'vxlan' | 'ipip' | 'host-gw';
  readonly vxlanPort: number;
  readonly nodePortRange: readonly [number, number];
  readonly masqueradePorts: readonly [number, number];
  readonly workers: number;
  readonly noTunnelOffload: boolean;
}

/** dp0 and what leads to it. */
export class HostNetwork {
  readonly tap: Tap;
  private readonly watch = new RoutingWatch();
  private inOrder = '';
  private readonly options: HostNetworkOptions;

  /** Open dp0 and put all routes and rules in place. @throws SystemError, IpCommandError */
  constructor(options: HostNetworkOptions) {
    this.options = options;
    this.tap = openTap({ name: HOST_DEVICE, queues: options.workers, persist: false, offloads: options.noTunnelOffload ? OffloadLevel.UDP : OffloadLevel.TUNNEL });
    try {
      this.configure();
      this.ensure();
    } catch (error) {
      removeTap(this.tap);
      throw error;
    }
  }

  private configure(): void {
    const gateway = gatewayOf(this.options.podCIDR);
    sysctl('net/ipv4/ip_forward', '1');
    sysctl('net/ipv4/conf/all/rp_filter', '0');
    sysctl(`net/ipv4/conf/${HOST_DEVICE}/rp_filter`, '0');
    // What we send back with the node's own address as source comes in on dp0, also from loopback.
    sysctl(`net/ipv4/conf/${HOST_DEVICE}/accept_local`, '1');
    sysctl(`net/ipv4/conf/${HOST_DEVICE}/route_localnet`, '1');
    sysctl(`net/ipv4/conf/${HOST_DEVICE}/send_redirects`, '0');
    sysctl('net/ipv4/conf/all/send_redirects', '0');
    sysctl(`net/ipv4/conf/${this.options.underlayDevice}/rp_filter`, '0', true);
    sysctl(`net/ipv6/conf/${HOST_DEVICE}/disable_ipv6`, '1', true);
    const [low, high] = this.options.masqueradePorts;
    sysctl('net/ipv4/ip_local_reserved_ports', `${low}-${high}`);
    ipBatch([
      `link set ${HOST_DEVICE} arp off`,
      `link set ${HOST_DEVICE} address ${macOf(gateway)} mtu ${this.options.underlayMtu} txqueuelen 1000`,
      `link set ${HOST_DEVICE} up`,
      `address replace ${gateway}/32 dev ${HOST_DEVICE}`,
    ]);
  }

  /**
   * Rules and routes as they must be; missing ones are put back. Cheap while nothing changed (one netlink dump).
   * @returns how many were missing
   */
  ensure(): number {
    if (this.watch.fingerprint() === this.inOrder) return 0;
    const missing = [...this.missingRules(), ...this.missingRoutes()];
    if (missing.length > 0) ipBatch(missing);
    this.inOrder = this.watch.fingerprint();
    return missing.length;
  }

  private wantedRules(): string[] {
    const { nodeIP, underlayDevice: device, vxlanPort, nodePortRange, masqueradePorts, overlay } = this.options;
    const ports = (range: readonly [number, number]): string => `${range[0]}-${range[1]}`;
    const toUs = `pref ${PREF_TO_US}`;
    const own = `to ${nodeIP}`;
    const rules = [
      `pref ${PREF_FROM_US} iif ${HOST_DEVICE} lookup local`,
      // NodePorts are open on the node's address and, for the node itself, on loopback; nowhere else: the same ports
      // of other machines are theirs.
      ...['tcp', 'udp', 'sctp'].flatMap((protocol) =>
        [own, 'to 127.0.0.0/8'].map((to) => `${toUs} ${to} ipproto ${protocol} dport ${ports(nodePortRange)} lookup ${TABLE}`),
      ),
      ...['tcp', 'udp', 'sctp'].map(
        (protocol) => `${toUs} ${own} iif ${device} ipproto ${protocol} dport ${ports(masqueradePorts)} lookup ${TABLE}`,
      ),
      `${toUs} ${own} iif ${device} ipproto icmp lookup ${TABLE}`,
      `pref ${PREF_LOCAL} lookup local`,
    ];
    if (overlay === 'vxlan') rules.splice(1, 0, `${toUs} ${own} iif ${device} ipproto udp dport ${vxlanPort} lookup ${TABLE}`);
    if (overlay === 'ipip') rules.splice(1, 0, `${toUs} ${own} iif ${device} ipproto ipencap lookup ${TABLE}`);
    return rules;
  }

  private missingRules(): string[] {
    const present = new Set(ipOutput(['rule', 'show']).split('\n').map(normalRule));
    const commands = this.wantedRules()
      .filter((rule) => !present.has(normalWanted(rule)))
      .map((rule) => `rule add ${rule}`);
    // The kernel's own "local first" rule would take what is ours before our rules are asked.
    if (present.has('0: local')) commands.push('rule del pref 0');
    return commands;
  }

  private missingRoutes(): string[] {
    const gateway = gatewayOf(this.options.podCIDR);
    const main = ipOutput(['route', 'show', 'dev', HOST_DEVICE]);
    const ours = ipOutput(['route', 'show', 'table', 'all', 'dev', HOST_DEVICE]);
    const commands: string[] = [];
    if (!main.includes(`${this.options.clusterCIDR} `)) commands.push(`route replace ${this.options.clusterCIDR} dev ${HOST_DEVICE} src ${gateway}`);
    if (!main.includes(`${this.options.serviceCIDR} `)) commands.push(`route replace ${this.options.serviceCIDR} dev ${HOST_DEVICE} src ${gateway}`);
    if (!ours.includes(`default table ${TABLE}`)) commands.push(`route replace default dev ${HOST_DEVICE} table ${TABLE}`);
    return commands;
  }

  /** Take dp0, its rules and routes away. */
  close(): void {
    const rules = this.wantedRules().filter((rule) => !rule.startsWith(`pref ${PREF_LOCAL}`));
    this.watch.close();
    ipBatch(['rule add pref 0 lookup local', ...rules.map((rule) => `rule del ${rule}`)], true);
    removeTap(this.tap);
  }
}

/** A line of `ip rule show` in the form of `normalWanted`: preference, then sorted words. */
function normalRule(line: string): string {
  const [preference = '', rest = ''] = [line.split(':')[0], line.slice(line.indexOf(':') + 1)];
  const words = rest
    .trim()
    .replace(/^from all\s*/, '')
    .replace(/\blookup\s+/, '')
    .split(/\s+/)
    .filter((word) => word !== '');
  return `${preference}: ${words.sort().join(' ')}`;
}

function normalWanted(rule: string): string {
  const words = rule.split(' ');
  return `${words[1]}: ${words.slice(2).filter((word) => word !== 'lookup').sort().join(' ')}`;
}

function sysctl(name: string, value: string, optional = false): void {
  const path = `/proc/sys/${name}`;
  try {
    if (readFileSync(path, 'utf8').trim() !== value) writeFileSync(path, value);
  } catch (error) {
    if (!optional) throw error;
  }
}

/** The node's device and MTU toward an address of the underlay. @throws Error naming the address */
export function underlayDevice(nodeIP: string): { device: string; mtu: number } {
  const addresses = JSON.parse(ipOutput(['-json', 'address', 'show'])) as {
    ifname: string;
    mtu: number;
    addr_info: { local?: string }[];
  }[];
  const found = addresses.find(({ addr_info }) => addr_info.some(({ local }) => local === nodeIP));
  if (!found) throw new Error(`no device of this namespace has the node's address ${nodeIP}`);
  return { device: found.ifname, mtu: found.mtu };
}
