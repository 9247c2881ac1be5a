/**
 * The node's side of the data plane: dp0, and the policy routing that brings to it what is ours: overlay packets,
 * NodePorts, answers to masqueraded connections, traffic to pods and services, external and load-balancer addresses
 * among that. Plain routes and rules, no netfilter.
 *
 * Runs in the node's namespace. Everything is idempotent: a rule that is deleted is put back.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ipBatch, ipOutput } from '../../linux/ip-command.ts';
import { RoutingWatch } from '../../linux/netlink.ts';
import { RouteSocket } from '../../linux/rtnetlink.ts';
import { presentRules, type Rule, ruleWords } from '../../linux/rules.ts';
import { reservePorts, sysctl } from '../../linux/sysctl.ts';
import { closeTap, openTap, remakeTap, removeTap, type Tap } from '../../linux/tap.ts';
import { type Cidr, parseCidr, printIp } from '../../net/address.ts';
import { gatewayOf, macOf } from '../../net/pod-network.ts';
import { NODE_OVERLAYS } from '../overlay/overlay.ts';
import { GSO_MAX_BYTES } from '../pods/ports.ts';
import { LIST_RULESET, leaveFirewall, MAX_RULESET_BYTES, readRuleset, untrackedRules } from './firewall.ts';
import type { HostNetworkOptions } from './host-options.ts';
import type { HostRouting } from './host-routes.ts';
import { isOurs, LOCAL_FIRST, LOOPBACK, wantedRules } from './host-rules.ts';
import { HOST_DEVICE, NODES_TABLE, TO_DP0_TABLE } from './rule-order.ts';
import { makeShortcut, NFT_TABLE, nft, removeShortcut, setShortcutNeighbours } from './shortcut.ts';

const QUEUE_LENGTH = 1000;
/** Addresses of the node that packets are taken for; each costs a rule that new connections are compared with. */
const MAX_ADDRESSES = 256;
/** Neighbours that the short way leads to; the others are reached by routing. */
const MAX_NEIGHBOURS = 4096;

/**
 * dp0 and what leads to it. The device is persistent: while no agent holds it, our packets are dropped there and
 * retransmitted by their senders. Without the device the node's kernel would answer them itself, and reset connections.
 */
export class HostNetwork {
  readonly tap: Tap;
  private readonly watch: RoutingWatch;
  private readonly routes: RouteSocket;
  private readonly options: HostNetworkOptions;
  /** Addresses of the node's devices, at first the one that is known, each with the source of the node's own sockets. */
  private localAddresses: ReadonlyMap<string, string>;
  private routedNetworks: readonly string[] = [];
  private neighbours: readonly string[] = [];
  private index = 0;
  private withoutNft = true;
  /** Called when dp0 had to be made anew: whoever reads from it has stopped. */
  onRemade: (() => void) | undefined;
  private inOrder = '';
  /** Why the short way (shortcut.ts) is not there; undefined when it is. */
  withoutShortcut: string | undefined;
  /** Undefined until they are known: until then the routes of a former agent stay. */
  private serviceAddresses: ReadonlySet<string> | undefined;
  private nodeRoutes: ReadonlyMap<string, string> = new Map();
  private underlayMtu: number;

  /** Open dp0 and put all routes and rules in place. @throws SystemError, IpCommandError */
  constructor(options: HostNetworkOptions) {
    this.options = options;
    this.underlayMtu = options.underlayMtu;
    this.localAddresses = new Map([[options.nodeIP, options.nodeIP]]);
    this.tap = openTap({ name: HOST_DEVICE, queues: options.workers, persist: true, offloads: options.offloads });
    this.watch = new RoutingWatch();
    this.routes = new RouteSocket();
    try {
      this.configure();
      this.ensure();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** dp0's own properties. */
  private configure(): void {
    this.index = this.routes.linkIndex(HOST_DEVICE);
    this.routes.changeLink(this.index, {
      mac: macOf(gatewayOf(this.options.podCIDR)),
      mtu: this.underlayMtu,
      queueLength: QUEUE_LENGTH,
      arp: false,
    });
    this.routes.changeLink(this.index, { gsoMaxBytes: GSO_MAX_BYTES });
  }

  /**
   * dp0 as it was made: anew when somebody deleted it, its MTU when somebody changed that.
   * @returns how much of it was missing
   * @throws SystemError when it cannot be made, as when another device has its name
   */
  private ensureDevice(): number {
    if (this.deviceIndex() !== this.index) {
      const { offloads } = this.options;
      try {
        remakeTap(this.tap, { persist: true, offloads });
      } catch (error) {
        throw new Error(`device ${HOST_DEVICE} is gone and cannot be made anew: ${(error as Error).message}`);
      }
      this.configure();
      this.inOrder = '';
      this.onRemade?.();
      return 1;
    }
    if (this.routes.linkMtu(HOST_DEVICE) === this.underlayMtu) return 0;
    this.routes.changeLink(this.index, { mtu: this.underlayMtu });
    return 1;
  }

  /** Others changed nftables: what is ours is put back, and accepted where they drop. @throws Error saying what is in the way */
  async ensureFirewall(): Promise<void> {
    if (this.withoutNft) return;
    const { stdout } = await promisify(execFile)(...LIST_RULESET, { maxBuffer: MAX_RULESET_BYTES });
    const { ours, accepts } = readRuleset(stdout);
    if (!ours.includes('ip') || (this.withoutShortcut === undefined && !ours.includes('netdev'))) this.inOrder = '';
    if (accepts.length > 0) {
      const why = nft(`${accepts.join('\n')}\n`);
      if (why !== undefined) throw new Error(`a firewall drops what is forwarded (${accepts[0]}): ${why}`);
    }
    this.ensure();
  }

  /**
   * Everything as it must be; what is missing is put back. Cheap while nothing changed (0.2 ms, no process).
   * @returns how many sysctls, rules and routes were missing
   * @throws SystemError when dp0 is gone, IpCommandError
   */
  ensure(): number {
    // The device first: some of the sysctls are its own.
    const repaired = this.ensureDevice() + this.ensureSysctls();
    if (this.watch.fingerprint() === this.inOrder) return repaired;
    const missing = this.restore();
    this.withoutShortcut = this.shorten();
    this.withoutNft = this.keepOffConntrack();
    this.inOrder = this.watch.fingerprint();
    return repaired + missing;
  }

  /** Our routes have changed, the short way has not. Other changes since the last check are left to the next `ensure`. */
  private followRoutes(): void {
    const inOrder = this.watch.fingerprint() === this.inOrder;
    this.inOrder = '';
    this.restore();
    if (inOrder) this.inOrder = this.watch.fingerprint();
  }

  /** dp0's state, rules and routes as they must be. @returns how many rules and routes were missing */
  private restore(): number {
    const index = this.routes.linkIndex(HOST_DEVICE);
    this.routes.changeLink(index, { up: true });
    this.routes.setAddress(index, gatewayOf(this.options.podCIDR), 32);
    // Routes first: a rule that leads to a table without its route hands our packets to the node's own sockets.
    const missing = [...this.routeCommands(), ...this.missingRules()];
    if (missing.length > 0) ipBatch(missing);
    const nodeRoutes = this.nodeRouteCommands();
    // Each by itself: a node that is not on this segment must not keep the others from being reached.
    if (nodeRoutes.length > 0) ipBatch(nodeRoutes, true);
    return missing.length;
  }

  /**
   * External and load-balancer addresses of services, each routed to dp0 for the node itself and for routers that
   * send such traffic here. Routes to former addresses are removed.
   * @throws SystemError, IpCommandError; tried again by the next `ensure`
   */
  setServiceAddresses(addresses: ReadonlySet<string>): void {
    this.serviceAddresses = new Set(addresses);
    this.followRoutes();
  }

  /**
   * The node's own addresses and routes have changed: rules and the short way follow.
   * @throws SystemError, IpCommandError; tried again by the next `ensure`
   */
  setRouting({ addresses, ownRoutes }: Pick<HostRouting, 'addresses' | 'ownRoutes'>): void {
    const { nodeIP } = this.options;
    const all = addresses.map(({ address, source }) => [printWord(address), printWord(source)] as const);
    const local = new Map([[nodeIP, nodeIP] as const, ...all].slice(0, MAX_ADDRESSES));
    const networks = ownRoutes.map(({ network, prefix }) => `${printWord(network)}/${prefix}`);
    if (sameEntries(local, this.localAddresses) && same(networks, this.routedNetworks)) return;
    this.localAddresses = local;
    this.routedNetworks = networks;
    this.inOrder = '';
    this.ensure();
  }

  /** Which addresses on the underlay's wire the kernel has found; as 32-bit words. */
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
    const { options, localAddresses, serviceAddresses } = this;
    return wantedRules(options, { local: [...localAddresses.keys()], services: serviceAddresses ?? new Set() });
  }

  /**
   * The pods of other nodes, each network with its node's address: what the kernel routes where the overlay is no tunnel.
   * Routes that are not among them are removed. Does nothing where the overlay is a tunnel.
   * @throws SystemError, IpCommandError; Error that names a route the kernel refuses: tried again when routes change
   */
  setNodeRoutes(routes: ReadonlyMap<string, string>): void {
    if (!NODE_OVERLAYS[this.options.overlay].routedByHost || sameEntries(routes, this.nodeRoutes)) return;
    this.nodeRoutes = new Map(routes);
    this.followRoutes();
    const [failed] = this.nodeRouteCommands();
    if (failed !== undefined)
      throw new Error(`\`ip ${failed}\`: refused; ${this.options.overlay} needs the nodes on one segment`);
  }

  /** Number of a device, dp0 unless named; 0 when it is not there. */
  deviceIndex(name: string = HOST_DEVICE): number {
    try {
      return this.routes.linkIndex(name);
    } catch {
      return 0;
    }
  }

  /** MTU of the device with the node's address as it is now. @throws SystemError */
  readUnderlayMtu(): number {
    return this.routes.linkMtu(this.options.underlayDevice);
  }

  /** dp0 takes what the underlay takes. @throws SystemError */
  setUnderlayMtu(mtu: number): void {
    this.underlayMtu = mtu;
    this.routes.changeLink(this.routes.linkIndex(HOST_DEVICE), { mtu });
    this.inOrder = '';
    this.ensure();
  }

  /** @returns whether there is no nftables here */
  private keepOffConntrack(): boolean {
    const { options } = this;
    const rules = untrackedRules({
      localAddresses: [...this.localAddresses.keys()],
      networks: [options.clusterCIDR, options.serviceCIDR, ...(this.serviceAddresses ?? [])],
      overlayMatches: NODE_OVERLAYS[options.overlay].shortcutMatches(options),
      nodePortRange: options.nodePortRange,
      masqueradePorts: options.masqueradePorts,
    });
    return nft(`table ip ${NFT_TABLE}\ndelete table ip ${NFT_TABLE}\n${rules}`) !== undefined;
  }

  /** @returns why the short way is not there */
  private shorten(): string | undefined {
    const { options } = this;
    if (options.noUnderlayShortcut) {
      removeShortcut();
      return 'switched off';
    }
    return makeShortcut({
      ...options,
      prefix: options.underlayPrefix,
      gateway: gatewayOf(options.podCIDR),
      underlayMtu: this.underlayMtu,
      hostDevice: HOST_DEVICE,
      localAddresses: [...this.localAddresses.keys()],
      routedNetworks: this.routedNetworks,
      neighbours: this.neighbours,
      overlayMatches: NODE_OVERLAYS[options.overlay].shortcutMatches(options),
    });
  }

  /** @returns how many had another value */
  private ensureSysctls(): number {
    const { underlayDevice, masqueradePorts } = this.options;
    const ours = `net/ipv4/conf/${HOST_DEVICE}`;
    return (
      sysctl('net/ipv4/ip_forward', '1') +
      sysctl('net/ipv4/conf/all/rp_filter', '0') +
      // A packet for a socket of the node, on a port of the NodePort range without a Service, goes by dp0; one given to its
      // socket before it was routed would not be forwarded (linux ip_forward drops what has skb->sk).
      sysctl('net/ipv4/tcp_early_demux', '0', true) +
      sysctl('net/ipv4/udp_early_demux', '0', true) +
      sysctl(`${ours}/rp_filter`, '0') +
      // What we send back with the node's own address as source comes in on dp0, also from loopback.
      sysctl(`${ours}/accept_local`, '1') +
      sysctl(`${ours}/route_localnet`, '1') +
      sysctl(`${ours}/send_redirects`, '0') +
      sysctl('net/ipv4/conf/all/send_redirects', '0') +
      // The kernel's errors about masqueraded packets all go to an address of the node: one a second is too few for its pods.
      // The limit of a thousand a second for the whole namespace stays (icmp_msgs_per_sec).
      sysctl('net/ipv4/icmp_ratelimit', '10', true) +
      sysctl(`net/ipv4/conf/${underlayDevice}/rp_filter`, '0', true) +
      sysctl(`net/ipv6/conf/${HOST_DEVICE}/disable_ipv6`, '1', true) +
      reservePorts(masqueradePorts)
    );
  }

  private missingRules(): string[] {
    const present = presentRules();
    const presentWords = new Set(present.map(ruleWords));
    const wanted = new Set(this.rules().map(ruleWords));
    const commands = [...wanted].filter((words) => !presentWords.has(words)).map((words) => `rule add ${words}`);
    // Of addresses that are gone, and of former versions. After those that replace them: no packet meets neither.
    const stale = present.filter(isOurs).map(ruleWords);
    commands.push(...stale.filter((words) => !wanted.has(words)).map((words) => `rule del ${words}`));
    // The kernel's own "local first" rule would take what is ours before our rules are asked.
    if (presentWords.has(ruleWords(LOCAL_FIRST))) commands.push(`rule del ${ruleWords(LOCAL_FIRST)}`);
    return commands;
  }

  /** Adds the routes that are missing, removes those of former service addresses. */
  private routeCommands(): string[] {
    const { podCIDR, clusterCIDR, serviceCIDR } = this.options;
    const gateway = gatewayOf(podCIDR);
    const present = presentRoutes();
    const main = [clusterCIDR, serviceCIDR, ...(this.serviceAddresses ?? [])];
    const all = [
      ...main.map((to) => ({ to, table: MAIN_TABLE, words: `src ${gateway}` })),
      { to: 'default', table: `${TO_DP0_TABLE}`, words: '' },
      // The node's sockets that talk to the node keep the source they would have without us: a server sees its true peer.
      { to: LOOPBACK, table: `${TO_DP0_TABLE}`, words: 'src 127.0.0.1' },
      ...[...this.localAddresses].map(([to, from]) => ({ to, table: `${TO_DP0_TABLE}`, words: `src ${from}` })),
    ];
    const missing = all.filter(({ to, table }) => !present.has(`${table} ${to}`));
    const wanted = new Set(all.map(({ to, table }) => `${table} ${to}`));
    // Of single addresses only those of services and of the node are routed here.
    const isStale = (route: string) => SINGLE_ADDRESS.test(route) && !wanted.has(route);
    const stale = this.serviceAddresses === undefined ? [] : [...present].filter(isStale);
    return [
      ...missing.map(({ to, table, words }) => `route replace ${to} dev ${HOST_DEVICE} table ${table} ${words}`),
      ...stale.map((route) => `route del ${route.split(' ')[1]} dev ${HOST_DEVICE} table ${route.split(' ')[0]}`),
    ];
  }

  /** What to change of the routes to other nodes' pods. */
  private nodeRouteCommands(): string[] {
    const { nodeRoutes, options } = this;
    if (!NODE_OVERLAYS[options.overlay].routedByHost) return [];
    const present = presentNodeRoutes();
    const table = `dev ${options.underlayDevice} table ${NODES_TABLE}`;
    return [
      ...[...nodeRoutes]
        .filter(([to, via]) => present.get(to) !== via)
        .map(([to, via]) => `route replace ${to} via ${via} ${table}`),
      ...[...present.keys()].filter((to) => !nodeRoutes.has(to)).map((to) => `route del ${to} ${table}`),
    ];
  }

  /** Let go of dp0. It stays with its rules and routes for the next agent, and so do the connections. */
  close(): void {
    this.watch.close();
    this.routes.close();
    closeTap(this.tap);
  }

  /** Take dp0, its rules and routes away: the node's kernel is alone again. */
  remove(): void {
    removeShortcut();
    leaveFirewall();
    const ours = this.rules()
      .map(ruleWords)
      .map((words) => `rule del ${words}`);
    ipBatch([`rule add ${ruleWords(LOCAL_FIRST)}`, ...ours], true);
    this.watch.close();
    this.routes.close();
    removeTap(this.tap);
  }
}

const same = (a: readonly string[], b: readonly string[]): boolean => a.join() === b.join();
const printWord = (word: number): string => printIp({ family: 4, value: BigInt(word >>> 0) });
const sameEntries = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean =>
  a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);

const MAIN_TABLE = '254';
/** A route of a table of ours, or of the main one, to one address, as presentRoutes() writes it. */
const SINGLE_ADDRESS = /^(254|100) [\d.]+$/;
/** dp0's routes as `<table> <destination>`. */
function presentRoutes(): Set<string> {
  const routes = JSON.parse(
    ipOutput(['-N', '-4', '-j', 'route', 'show', 'table', 'all', 'dev', HOST_DEVICE]) || '[]',
  ) as { dst: string; table?: string }[];
  return new Set(routes.map(({ dst, table }) => `${table ?? MAIN_TABLE} ${dst}`));
}

/** The routes of NODES_TABLE: network and gateway. */
function presentNodeRoutes(): Map<string, string> {
  // `ip` fails for a table that was never used, so all tables are listed.
  const all = JSON.parse(ipOutput(['-N', '-4', '-j', 'route', 'show', 'table', 'all']) || '[]') as {
    dst: string;
    gateway?: string;
    table?: string;
  }[];
  return new Map(all.filter(({ table }) => table === `${NODES_TABLE}`).map(({ dst, gateway = '' }) => [dst, gateway]));
}
