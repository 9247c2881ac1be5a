/**
 * Everything that an agent has or changes on a node, beside what the node has now. Nothing is changed here. The items come
 * from the functions by which the agent makes them, so the plan cannot differ from what is done.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { formatIpv4 } from '../../../native-free-dataplane/wire/address.ts';
import { listRuleset } from '../../linux/nft-ruleset.ts';
import { RoutingTable } from '../../linux/routing-table.ts';
import { RouteSocket } from '../../linux/rtnetlink.ts';
import { presentRules, ruleWords } from '../../linux/rules.ts';
import { SHM_DIRECTORY } from '../../linux/shm-files.ts';
import { readSysctl, unreserved } from '../../linux/sysctl.ts';
import { OffloadLevel } from '../../linux/tap.ts';
import { gatewayOf } from '../../net/pod-network.ts';
import { memoryNames } from '../../shm-names.ts';
import { type CniDirectories, cniFiles } from '../cni/installation.ts';
import { copiesIn } from '../cni/program-copy.ts';
import type { NodeConfig } from '../config.ts';
import { proxyRules } from '../takeover/proxy.ts';
import { readRuleset } from '../underlay/firewall.ts';
import { usesOverlayDevice } from '../underlay/host-network.ts';
import type { HostNetworkOptions } from '../underlay/host-options.ts';
import { LOCAL_FIRST, wantedRules } from '../underlay/host-rules.ts';
import { isOfOurDevices, wantedSettings } from '../underlay/host-sysctls.ts';
import { readLegacy, savedLegacyRules } from '../underlay/legacy-firewall.ts';
import { presentRoutes, routeArguments, wantedRoutes } from '../underlay/node-routes.ts';
import { readHostRouting } from '../underlay/routing-follower.ts';
import { HOST_DEVICE, OVERLAY_DEVICE } from '../underlay/rule-order.ts';
import { NFT_TABLE } from '../underlay/shortcut.ts';
import { conflictsOn } from './conflicts.ts';

/** One thing on the node. */
export interface PlannedItem {
  readonly kind: string;
  readonly name: string;
  /** What the node has now; empty for nothing. */
  readonly now: string;
  /** What it has while an agent runs, and afterwards until the reset. */
  readonly withAgent: string;
}

export interface NodePlan {
  readonly node: string;
  readonly items: readonly PlannedItem[];
  /** What would keep the agent from working, a sentence each. */
  readonly conflicts: readonly string[];
}

export interface PlanOptions {
  readonly config: NodeConfig;
  readonly stateDir: string;
  /** Where the CNI plugin would be installed; undefined without it. */
  readonly cni: { readonly directories: CniDirectories; readonly socket: string } | undefined;
  /** The agent would take the Services over from kube-proxy. */
  readonly takeover?: boolean;
}

const PRESENT = 'present';

/** @throws IpCommandError, SystemError */
export function planNode({ config, stateDir, cni, takeover = false }: PlanOptions): NodePlan {
  const host = { ...config, offloads: OffloadLevel.TUNNEL, noUnderlayShortcut: false };
  const device = deviceIndex(HOST_DEVICE);
  const local = localAddresses(host, device);
  const items: PlannedItem[] = [
    { kind: 'device', name: HOST_DEVICE, now: device === 0 ? '' : PRESENT, withAgent: deviceWords(host) },
    ...overlayDeviceItems(host),
    ...routeItems(host, local, device !== 0),
    ...ruleItems(host, [...local.keys()]),
    ...settingItems(host),
    ...firewallItems(host),
    ...(takeover ? proxyItems() : []),
    ...fileItems(host.nodeName, stateDir, cni),
    { kind: 'device', name: 'eth0 of each pod', now: '', withAgent: "TAP in the pod's network namespace" },
  ];
  return { node: host.nodeName, items, conflicts: conflictsOn(host, cni?.directories.configuration, takeover) };
}

function deviceWords({ podCIDR, underlayMtu }: HostNetworkOptions): string {
  return `TAP, address ${gatewayOf(podCIDR)}/32, MTU ${underlayMtu}`;
}

function overlayDeviceItems(host: HostNetworkOptions): PlannedItem[] {
  if (!usesOverlayDevice(host)) return [];
  const now = deviceIndex(OVERLAY_DEVICE) === 0 ? '' : PRESENT;
  return [{ kind: 'device', name: OVERLAY_DEVICE, now, withAgent: `TAP, no address, MTU ${host.underlayMtu}` }];
}

function deviceIndex(name: string): number {
  const routes = new RouteSocket();
  try {
    return routes.findLink(name);
  } finally {
    routes.close();
  }
}

/** Addresses of the node's devices, each with the source of the node's own sockets toward it. */
function localAddresses(host: HostNetworkOptions, dp0: number): Map<string, string> {
  const table = new RoutingTable();
  try {
    const { addresses } = readHostRouting(table, host, dp0);
    return new Map(addresses.map(({ address, source }) => [formatIpv4(address), formatIpv4(source)]));
  } finally {
    table.close();
  }
}

function routeItems(host: HostNetworkOptions, local: ReadonlyMap<string, string>, hasDevice: boolean): PlannedItem[] {
  const present = hasDevice ? presentRoutes() : new Set<string>();
  const routes = wantedRoutes(host, { local, services: new Set() }).map((route) => ({
    kind: 'route',
    name: routeArguments(route),
    now: present.has(`${route.table} ${route.to}`) ? PRESENT : '',
    withAgent: 'added',
  }));
  const perService = 'one for each external and load-balancer address of a Service';
  return [...routes, { kind: 'route', name: `ADDRESS dev ${HOST_DEVICE}`, now: '', withAgent: perService }];
}

function ruleItems(host: HostNetworkOptions, local: readonly string[]): PlannedItem[] {
  const present = new Set(presentRules().map(ruleWords));
  const item = (name: string, withAgent: string): PlannedItem => ({
    kind: 'rule',
    name,
    now: present.has(name) ? PRESENT : '',
    withAgent,
  });
  const wanted = wantedRules(host, { local, services: new Set(), hostPorts: [] });
  return [
    ...wanted.map((rule) => item(ruleWords(rule), 'added')),
    { kind: 'rule', name: 'for host ports of pods', now: '', withAgent: 'one for each run of ports' },
    item(ruleWords(LOCAL_FIRST), 'removed: it would match before these'),
  ];
}

function settingItems(host: HostNetworkOptions): PlannedItem[] {
  const settings = wantedSettings(host).flatMap((setting) => {
    const now = readSysctl(setting.name);
    if (isOfOurDevices(setting) || (now === undefined && setting.optional)) return [];
    return { kind: 'sysctl', name: setting.name.replaceAll('/', '.'), now: now ?? '', withAgent: setting.value };
  });
  if (readSysctl('net/ipv4/ip_forward') === '0') {
    // linux net/ipv4/devinet.c inet_forward_change
    const name = 'net.ipv4.conf.*.forwarding, net.ipv4.conf.all.accept_redirects';
    settings.push({ kind: 'sysctl', name, now: '', withAgent: 'set by the kernel with ip_forward' });
  }
  const [first, last] = host.masqueradePorts;
  const isReserved = unreserved([host.masqueradePorts]).length === 0;
  return [
    ...settings,
    {
      kind: 'sysctl',
      name: 'net.ipv4.ip_local_reserved_ports',
      now: isReserved ? `with ${first}-${last}` : '',
      withAgent: `with ${first}-${last}, and host ports of pods`,
    },
  ];
}

function firewallItems({ nameServer }: HostNetworkOptions): PlannedItem[] {
  const rules = listRuleset();
  const { accepts } = readLegacy(savedLegacyRules(), nameServer);
  const legacy = accepts.map((words) => ({
    kind: 'iptables',
    name: words.join(' '),
    now: '',
    withAgent: 'added, because the chain drops packets',
  }));
  if (rules === undefined) return legacy;
  const ruleset = readRuleset(rules, nameServer);
  const table = (family: string): PlannedItem => ({
    kind: 'nftables',
    name: `table ${family} ${NFT_TABLE}`,
    now: ruleset.ours.includes(family) ? PRESENT : '',
    withAgent: 'added',
  });
  return [
    table('ip'),
    table('netdev'),
    ...ruleset.accepts.map((name) => ({
      kind: 'nftables',
      name: name.replace('insert rule ', 'rule in '),
      now: '',
      withAgent: 'added, because the chain drops packets',
    })),
    ...legacy,
  ];
}

/** What kube-proxy has left. */
function proxyItems(): PlannedItem[] {
  return proxyRules().map(({ table, whole, chains, jumps }) => ({
    kind: 'kube-proxy',
    name: whole ? `table ${table}` : `table ${table}: ${chains} chains KUBE-*, ${jumps} rules that lead to them`,
    now: PRESENT,
    withAgent: 'removed by the takeover',
  }));
}

function fileItems(node: string, stateDir: string, cni: PlanOptions['cni']): PlannedItem[] {
  const item = (kind: string, name: string, withAgent: string): PlannedItem => ({
    kind,
    name,
    now: existsSync(name) ? PRESENT : '',
    withAgent,
  });
  return [
    item('directory', join(stateDir, 'nodes', node), "the node's state"),
    ...Object.values(memoryNames(node)).map((name) => item('file', join(SHM_DIRECTORY, name), 'shared memory')),
    ...(cni === undefined
      ? [item('directory', join(stateDir, 'pods'), "the pods' files")]
      : [
          ...cniFiles(cni.directories).map((path) => item('file', path, 'for container runtimes')),
          item('directory', copiesIn(cni.directories.programs), 'Node and the CNI plugin, with --cni-copy'),
          item('socket', cni.socket, 'for the CNI plugin'),
        ]),
  ];
}
