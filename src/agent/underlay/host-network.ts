/**
 * The node's side of the data plane: dp0, and the policy routing that sends the data plane's packets to it: overlay
 * packets, NodePorts, host ports, replies to masqueraded connections, and traffic to pods and services, including external and
 * load-balancer addresses. It needs only routes and rules; nftables is used if present (firewall.ts, shortcut.ts).
 *
 * Runs in the node's namespace. Every operation is idempotent: a rule that was deleted is restored.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { formatIpv4 } from '../../../native-free-dataplane/wire/address.ts';
import { ipBatch } from '../../linux/ip-command.ts';
import { LIST_RULESET, MAX_RULESET_BYTES } from '../../linux/nft-ruleset.ts';
import { RoutingWatch } from '../../linux/routing-watch.ts';
import { RouteSocket } from '../../linux/rtnetlink.ts';
import { presentRules, type Rule, ruleWords } from '../../linux/rules.ts';
import type { Tap } from '../../linux/tap.ts';
import { type Cidr, parseCidr, printIp } from '../../net/address.ts';
import { gatewayOf, macOf } from '../../net/pod-network.ts';
import { isRoutedByKernel, overlayMatches } from '../overlay/node-overlay.ts';
import { type FirewallCommands, firewallCommands, installFirewallRules, readRuleset } from './firewall.ts';
import { HostDevice } from './host-device.ts';
import type { HostNetworkOptions, RoutedPort } from './host-options.ts';
import type { HostRouting } from './host-routes.ts';
import { isOurs, LOCAL_FIRST, wantedRules } from './host-rules.ts';
import { HostSysctls } from './host-sysctls.ts';
import { ensureLegacyAccepts, hasLegacyTables } from './legacy-firewall.ts';
import { dp0RouteCommands, nodeRouteCommands } from './node-routes.ts';
import { misrouted } from './route-probe.ts';
import { HOST_DEVICE, OVERLAY_DEVICE, Preference } from './rule-order.ts';
import { NO_SHORTCUT, nft, setShortcutNeighbours, shortcutCommands } from './shortcut.ts';

/** Limit of the node's addresses with NodePorts; each needs a rule that the kernel evaluates for new connections. */
const MAX_ADDRESSES = 256;
/** Limit of neighbours that the shortcut serves; packets to others are routed by the kernel. */
const MAX_NEIGHBOURS = 4096;

/** Number of dp0 among the workers' ports. */
const HOST_PORT = 0;

/** What dp0 is connected to. */
interface DeviceUser {
  addPort(index: number, tap: Tap): void;
  /** Its frames count as those of port `index`. */
  addFurtherDevice(index: number, tap: Tap): void;
}

/** dp0 and dp1 (host-device.ts), with routes and rules. */
export class HostNetwork {
  private readonly device: HostDevice;
  /** dp1, if the shortcut may move overlay packets. */
  private readonly overlayDevice: HostDevice | undefined;
  private readonly watch: RoutingWatch;
  private readonly routes: RouteSocket;
  private readonly options: HostNetworkOptions;
  private readonly sysctls: HostSysctls;
  /** Addresses of the node's devices, each with the source of the node's own sockets toward it. */
  private localAddresses: ReadonlyMap<string, string>;
  private routedNetworks: readonly string[] = [];
  /** Does a device of the node have the node's address? */
  hasNodeAddress = true;
  private neighbours: readonly string[] = [];
  private withoutNft = true;
  private workers: DeviceUser | undefined;
  /** Fingerprint of rules and routes at the last check; empty if they must be checked again. */
  private checked = '';
  /** Ours are to be changed, though nobody else has changed anything. */
  private isDue = false;
  /** What was last given to nft; empty if it may not be in force. */
  private installed = '';
  /** Why the shortcut (shortcut.ts) is not installed; undefined if it is. */
  withoutShortcut: string | undefined;
  /** Undefined until they are known; until then routes of a previous agent are kept. */
  private serviceAddresses: ReadonlySet<string> | undefined;
  /** Host ports of this node's pods; also undefined until they are known. */
  private hostPorts: readonly RoutedPort[] | undefined;
  private kept: readonly string[];
  private nodeRoutes: ReadonlyMap<string, string> = new Map();
  /** Pod networks of other nodes. */
  private remoteNetworks: readonly string[] = [];
  /** What others' rules and routes lead past dp0; undefined if nothing. */
  misrouted: string | undefined;
  /** `checked` when that was found out. */
  private probed = '';

  /** Open dp0 and install all routes and rules. @throws SystemError, IpCommandError */
  constructor(options: HostNetworkOptions) {
    this.options = options;
    this.kept = options.kept ?? [];
    this.sysctls = new HostSysctls(options);
    options.former?.keepNameServer(options.nameServer);
    this.localAddresses = new Map([[options.nodeIP, options.nodeIP]]);
    this.watch = new RoutingWatch();
    this.routes = new RouteSocket();
    const { workers, offloads, podCIDR, underlayMtu, tap, overlayTap } = options;
    const common = { queues: workers, offloads, mac: macOf(gatewayOf(podCIDR)), mtu: underlayMtu };
    this.device = new HostDevice({ ...common, name: HOST_DEVICE, tap }, this.routes);
    try {
      this.device.configure();
      this.overlayDevice = usesOverlayDevice(options)
        ? new HostDevice({ ...common, name: OVERLAY_DEVICE, tap: overlayTap }, this.routes)
        : undefined;
      this.overlayDevice?.configure();
      this.ensure();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get tap(): Tap {
    return this.device.tap;
  }

  /** Networks of pods and services. */
  private get clusterNetworks(): string[] {
    return [this.options.clusterCIDR, this.options.serviceCIDR];
  }

  /** Add dp0 to the workers' ports, now and whenever it has to be recreated. */
  connect(workers: DeviceUser): void {
    this.workers = workers;
    this.addToWorkers();
  }

  private addToWorkers(): void {
    this.workers?.addPort(HOST_PORT, this.tap);
    if (this.overlayDevice) this.workers?.addFurtherDevice(HOST_PORT, this.overlayDevice.tap);
  }

  /** Restore dp0, dp1 and their properties. @returns how many were missing or changed @throws Error, SystemError */
  private ensureDevices(): number {
    const devices = [this.device, ...(this.overlayDevice ? [this.overlayDevice] : [])];
    const missing = devices.filter((device) => device.ensureExists()).length;
    if (missing === 0) return devices.reduce((sum, device) => sum + device.ensureProperties(), 0);
    // Chains of a device end with it.
    this.checked = '';
    this.addToWorkers();
    return missing;
  }

  /** Restore our nftables, and the accept rules in others' chains that drop. @throws Error naming the rule that failed */
  async ensureFirewall(): Promise<void> {
    if (this.withoutNft) return;
    const { stdout } = await promisify(execFile)(...LIST_RULESET, { maxBuffer: MAX_RULESET_BYTES });
    const { ours, accepts, obstacle } = readRuleset(stdout, this.options.nameServer);
    if (!ours.includes('ip') || (this.withoutShortcut === undefined && !ours.includes('netdev'))) this.checked = '';
    if (accepts.length > 0) {
      const why = nft(`${accepts.join('\n')}\n`);
      if (why !== undefined)
        throw new Error(`a firewall drops forwarded packets, and \`${accepts[0]}\` failed: ${why}`);
    }
    this.ensure();
    if (obstacle !== undefined) throw new Error(`a firewall is in the way: nftables, ${obstacle}`);
  }

  /** The same for the rules of iptables-legacy, if there are any. @throws Error naming the rule in the way */
  async ensureLegacyFirewall(): Promise<void> {
    if (hasLegacyTables()) await ensureLegacyAccepts(this.options.nameServer);
  }

  /**
   * Check dp0, sysctls, rules and routes, and restore what is missing. Cheap while nothing has changed (0.2 ms, no
   * process).
   * @returns how many sysctls, rules and routes were missing
   * @throws SystemError, IpCommandError; Error as ensureDevices
   */
  ensure(): number {
    // The device first, because some sysctls belong to it.
    const repaired = this.ensureDevices() + this.sysctls.ensure();
    let missing = 0;
    const isChanged = this.watch.fingerprint() !== this.checked;
    if (isChanged || this.isDue) {
      missing = this.restore();
      if (isChanged) this.installed = '';
      this.installNftables();
      this.checked = this.watch.fingerprint();
      this.isDue = false;
    }
    this.probe();
    return repaired + missing;
  }

  private probe(): void {
    if (this.probed === this.checked) return;
    this.probed = this.checked;
    const { podCIDR, serviceCIDR, nodeIP, underlayDevice, nodePortRange } = this.options;
    const networks = [podCIDR, serviceCIDR, ...this.remoteNetworks];
    this.misrouted = misrouted({ networks, nodeIP, underlayDevice, nodePort: nodePortRange[0] });
  }

  /**
   * Apply changed routes, without the shortcut. Changes by others since the last check are left to the next `ensure`.
   */
  private followRoutes(): void {
    const unchanged = this.watch.fingerprint() === this.checked;
    this.checked = '';
    this.restore();
    if (unchanged) this.checked = this.watch.fingerprint();
  }

  /** Restore dp0's state, rules and routes. @returns how many rules and routes were missing */
  private restore(): number {
    const index = this.routes.linkIndex(HOST_DEVICE);
    this.routes.changeLink(index, { up: true });
    if (this.overlayDevice) this.routes.changeLink(this.routes.linkIndex(OVERLAY_DEVICE), { up: true });
    this.routes.setAddress(index, gatewayOf(this.options.podCIDR), 32);
    // Routes before rules: with a rule to an empty table, packets would be delivered to the node's own sockets.
    const missing = [
      ...dp0RouteCommands(this.options, this.localAddresses, this.serviceAddresses),
      ...this.missingRules(),
    ];
    if (missing.length > 0) ipBatch(missing);
    const nodeRoutes = nodeRouteCommands(this.options, this.nodeRoutes);
    // Independently of each other: the kernel refuses a route to a node that is not on this segment.
    if (nodeRoutes.length > 0) ipBatch(nodeRoutes, true);
    return missing.length;
  }

  /**
   * Route the external and load-balancer addresses of services to dp0, for the node itself and for routers that send
   * such traffic here. Routes to other addresses are removed.
   * @throws SystemError, IpCommandError; the next `ensure` tries again
   */
  setServiceAddresses(addresses: ReadonlySet<string>): void {
    this.serviceAddresses = new Set(addresses);
    // Until the host ports are known too: then both are applied.
    if (this.hostPorts === undefined) return;
    this.followRoutes();
    // The addresses are in the nftables too, which can wait for the next check.
    this.isDue = true;
  }

  /** Apply the host ports of this node's pods. @throws as setServiceAddresses */
  setHostPorts(ports: readonly RoutedPort[]): void {
    if (JSON.stringify(ports) === JSON.stringify(this.hostPorts)) return;
    this.hostPorts = ports;
    this.sysctls.setHostPorts(ports.map(({ port }) => port));
    this.isDue = true;
    this.ensure();
  }

  /** Leave these connections to the kernel. @throws as setServiceAddresses */
  setKept(kept: readonly string[]): void {
    if (same(kept, this.kept)) return;
    this.kept = kept;
    this.isDue = true;
    this.ensure();
  }

  /** Apply the node's addresses and routes to rules and shortcut. @throws as setServiceAddresses */
  setRouting({ addresses, ownRoutes }: Pick<HostRouting, 'addresses' | 'ownRoutes'>): void {
    const { nodeIP } = this.options;
    const all = addresses.map(({ address, source }) => [formatIpv4(address), formatIpv4(source)] as const);
    this.hasNodeAddress = all.some(([address]) => address === nodeIP);
    const local = new Map([[nodeIP, nodeIP] as const, ...all].slice(0, MAX_ADDRESSES));
    const networks = ownRoutes.map(({ network, prefix }) => `${formatIpv4(network)}/${prefix}`);
    if (sameEntries(local, this.localAddresses) && same(networks, this.routedNetworks)) return;
    this.localAddresses = local;
    this.routedNetworks = networks;
    this.isDue = true;
    this.ensure();
  }

  /** Set the underlay addresses whose MAC the kernel knows, as 32-bit words: the shortcut serves these. */
  setNeighbours(addresses: readonly number[]): void {
    const { nodeIP, underlayPrefix } = this.options;
    const network = parseCidr(`${nodeIP}/${underlayPrefix}`) as Cidr;
    const near = addresses.map((word) => BigInt(word >>> 0)).filter((ip) => ip >= network.first && ip <= network.last);
    const neighbours = near
      .map((value) => printIp({ family: 4, value }))
      .sort()
      .slice(0, MAX_NEIGHBOURS);
    if (same(neighbours, this.neighbours)) return;
    this.neighbours = neighbours;
    if (this.withoutShortcut === undefined) setShortcutNeighbours(neighbours);
  }

  private rules(): Rule[] {
    const { options, localAddresses, serviceAddresses, hostPorts = [] } = this;
    const local = [...localAddresses.keys()];
    return wantedRules(options, { local, services: serviceAddresses ?? new Set(), hostPorts });
  }

  /**
   * Set the kernel's routes to the pod networks of other nodes; other routes in that table are removed. A tunnel needs
   * none.
   * @param routes node address by pod network
   * @throws SystemError, IpCommandError; Error naming a route that the kernel refuses, tried again when routes change
   */
  setNodeRoutes(routes: ReadonlyMap<string, string>): void {
    const remote = [...routes.keys()];
    if (!same(remote, this.remoteNetworks)) this.probed = '';
    this.remoteNetworks = remote;
    if (!isRoutedByKernel(this.options) || sameEntries(routes, this.nodeRoutes)) return;
    this.nodeRoutes = new Map(routes);
    this.followRoutes();
    const [failed] = nodeRouteCommands(this.options, this.nodeRoutes);
    if (failed !== undefined)
      throw new Error(`\`ip ${failed}\`: refused; ${this.options.overlay} needs the nodes on one segment`);
  }

  /** Index of a device, by default dp0; 0 if it does not exist. */
  deviceIndex(name: string = HOST_DEVICE): number {
    return this.routes.findLink(name);
  }

  /** Current MTU of the underlay device. @throws SystemError */
  readUnderlayMtu(): number {
    return this.routes.linkMtu(this.options.underlayDevice);
  }

  /** Set the devices' MTU to the underlay's. @throws SystemError */
  setUnderlayMtu(mtu: number): void {
    this.device.setMtu(mtu);
    this.overlayDevice?.setMtu(mtu);
    this.isDue = true;
    this.ensure();
  }

  /** Install the shortcut and the `notrack` rules, unless they are installed; by one process if the kernel accepts all. */
  private installNftables(): void {
    const [shortcut, firewall] = [this.shortcut(), this.firewall()];
    const all = `${shortcut}${firewall.needed}${firewall.wanted}`;
    if (all === this.installed) return;
    const { noUnderlayShortcut } = this.options;
    const isDone = nft(all) === undefined;
    const why = isDone ? undefined : nft(shortcut);
    this.withoutShortcut = noUnderlayShortcut ? 'switched off' : why;
    this.withoutNft = !isDone && !installFirewallRules(firewall);
    this.installed = all;
  }

  /** What the rules of nftables match, in both of our tables. */
  private matched() {
    const { options, hostPorts = [], kept, clusterNetworks } = this;
    const { nodePortRange, masqueradePorts } = options;
    const local = { localAddresses: [...this.localAddresses.keys()], overlayMatches: overlayMatches(options) };
    return { ...local, clusterNetworks, hostPorts, kept, nodePortRange, masqueradePorts };
  }

  private firewall(): FirewallCommands {
    const serviceAddresses = [...(this.serviceAddresses ?? [])];
    return firewallCommands({ ...this.matched(), serviceAddresses, mtu: this.device.mtu });
  }

  private shortcut(): string {
    const { options } = this;
    if (options.noUnderlayShortcut) return NO_SHORTCUT;
    return shortcutCommands({
      ...options,
      ...this.matched(),
      prefix: options.underlayPrefix,
      gateway: gatewayOf(options.podCIDR),
      underlayMtu: this.device.mtu,
      hostDevice: HOST_DEVICE,
      overlayDevice: this.overlayDevice ? OVERLAY_DEVICE : HOST_DEVICE,
      routedNetworks: this.routedNetworks,
      neighbours: this.neighbours,
    });
  }

  private missingRules(): string[] {
    const present = presentRules();
    const presentWords = new Set(present.map(ruleWords));
    const wanted = new Set(this.rules().map(ruleWords));
    const commands = [...wanted].filter((words) => !presentWords.has(words)).map((words) => `rule add ${words}`);
    // Remove rules for former addresses and of former versions after adding the new ones, so that one always matches.
    const kept = this.hostPorts === undefined ? Preference.HOST_PORTS : undefined;
    const stale = present.filter((rule) => isOurs(rule) && rule.preference !== kept).map(ruleWords);
    commands.push(...stale.filter((words) => !wanted.has(words)).map((words) => `rule del ${words}`));
    // The kernel's default rule for local addresses would match before our rules.
    if (presentWords.has(ruleWords(LOCAL_FIRST))) commands.push(`rule del ${ruleWords(LOCAL_FIRST)}`);
    return commands;
  }

  /** Close dp0 and dp1. They stay with rules and routes for the next agent, and so do connections. */
  close(): void {
    this.watch.close();
    this.routes.close();
    this.device.close();
    this.overlayDevice?.close();
  }
}

/** Does the node have dp1? Not if no overlay packets arrive through the shortcut. */
export const usesOverlayDevice = (options: HostNetworkOptions): boolean =>
  !options.noUnderlayShortcut && overlayMatches(options).length > 0;
const same = (a: readonly string[], b: readonly string[]): boolean => a.join() === b.join();
const sameEntries = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean =>
  a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
