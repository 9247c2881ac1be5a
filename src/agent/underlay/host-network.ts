/**
 * The node's side of the data plane: dp0, and the policy routing that brings to it what is ours: overlay packets,
 * NodePorts, answers to masqueraded connections, traffic to pods and services, external and load-balancer addresses
 * among that. Plain routes and rules, no netfilter.
 *
 * Runs in the node's namespace. Everything is idempotent: a rule that is deleted is put back.
 */
import { ipBatch, ipOutput } from '../../linux/ip-command.ts';
import { RoutingWatch } from '../../linux/netlink.ts';
import { RouteSocket } from '../../linux/rtnetlink.ts';
import { presentRules, type Rule, ruleWords } from '../../linux/rules.ts';
import { reservePorts, sysctl } from '../../linux/sysctl.ts';
import { closeTap, openTap, removeTap, type Tap } from '../../linux/tap.ts';
import { gatewayOf, macOf } from '../../net/pod-network.ts';
import { NODE_OVERLAYS } from '../overlay/overlay.ts';
import { GSO_MAX_BYTES } from '../pods/ports.ts';
import type { HostNetworkOptions } from './host-options.ts';
import { LOCAL_FIRST, wantedRules } from './host-rules.ts';
import { HOST_DEVICE, NODES_TABLE, TO_DP0_TABLE } from './rule-order.ts';
import { makeShortcut, removeShortcut } from './shortcut.ts';

const QUEUE_LENGTH = 1000;

/**
 * dp0 and what leads to it. The device is persistent: while no agent holds it, our packets are dropped there and
 * retransmitted by their senders. Without the device the node's kernel would answer them itself, and reset connections.
 */
export class HostNetwork {
  readonly tap: Tap;
  private readonly watch: RoutingWatch;
  private readonly routes: RouteSocket;
  private readonly options: HostNetworkOptions;
  private readonly rules: readonly Rule[];
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
    this.rules = wantedRules(options);
    this.tap = openTap({ name: HOST_DEVICE, queues: options.workers, persist: true, offloads: options.offloads });
    this.watch = new RoutingWatch();
    this.routes = new RouteSocket();
    try {
      this.routes.changeLink(this.routes.linkIndex(HOST_DEVICE), {
        mac: macOf(gatewayOf(options.podCIDR)),
        mtu: options.underlayMtu,
        queueLength: QUEUE_LENGTH,
        arp: false,
      });
      this.routes.changeLink(this.routes.linkIndex(HOST_DEVICE), { gsoMaxBytes: GSO_MAX_BYTES });
      this.ensure();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * Everything as it must be; what is missing is put back. Cheap while nothing changed (0.2 ms, no process).
   * @returns how many sysctls, rules and routes were missing
   * @throws SystemError when dp0 is gone, IpCommandError
   */
  ensure(): number {
    const repaired = this.ensureSysctls();
    if (this.watch.fingerprint() === this.inOrder) return repaired;
    const missing = this.restore();
    this.withoutShortcut = this.shorten();
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
      sysctl(`net/ipv4/conf/${underlayDevice}/rp_filter`, '0', true) +
      sysctl(`net/ipv6/conf/${HOST_DEVICE}/disable_ipv6`, '1', true) +
      reservePorts(masqueradePorts)
    );
  }

  private missingRules(): string[] {
    const present = presentRules();
    const commands = this.rules
      .map(ruleWords)
      .filter((words) => !present.has(words))
      .map((words) => `rule add ${words}`);
    // The kernel's own "local first" rule would take what is ours before our rules are asked.
    if (present.has(ruleWords(LOCAL_FIRST))) commands.push(`rule del ${ruleWords(LOCAL_FIRST)}`);
    return commands;
  }

  /** Adds the routes that are missing, removes those of former service addresses. */
  private routeCommands(): string[] {
    const { podCIDR, clusterCIDR, serviceCIDR } = this.options;
    const gateway = gatewayOf(podCIDR);
    const present = presentRoutes();
    const main = [clusterCIDR, serviceCIDR, ...(this.serviceAddresses ?? [])];
    const missing = [
      ...main.map((to) => ({ to, table: MAIN_TABLE, words: `src ${gateway}` })),
      { to: 'default', table: `${TO_DP0_TABLE}`, words: '' },
    ].filter(({ to, table }) => !present.has(`${table} ${to}`));
    const wanted = new Set(main.map((to) => `${MAIN_TABLE} ${to}`));
    // Of single addresses only those of services are routed here.
    const isStale = (route: string) => SINGLE_ADDRESS.test(route) && !wanted.has(route);
    const stale = this.serviceAddresses === undefined ? [] : [...present].filter(isStale);
    return [
      ...missing.map(({ to, table, words }) => `route replace ${to} dev ${HOST_DEVICE} table ${table} ${words}`),
      ...stale.map((route) => `route del ${route.split(' ')[1]} dev ${HOST_DEVICE} table ${MAIN_TABLE}`),
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
    const ours = this.rules.map(ruleWords).map((words) => `rule del ${words}`);
    ipBatch([`rule add ${ruleWords(LOCAL_FIRST)}`, ...ours], true);
    this.watch.close();
    this.routes.close();
    removeTap(this.tap);
  }
}

const sameEntries = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean =>
  a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);

const MAIN_TABLE = '254';
/** A route of the main table to one address, as presentRoutes() writes it. */
const SINGLE_ADDRESS = /^254 [\d.]+$/;
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
