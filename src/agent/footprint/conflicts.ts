/**
 * What is in the way of an agent on a node: another service proxy, another network plugin, and rules, routes or devices of
 * others that have names or numbers of ours.
 */
import { readdirSync } from 'node:fs';
import { OVERLAYS } from '../../../native-free-dataplane/overlay/modes.ts';
import { ipOutput } from '../../linux/ip-command.ts';
import { listRuleset } from '../../linux/nft-ruleset.ts';
import { presentRules, ruleWords } from '../../linux/rules.ts';
import { CNI_CONFIGURATION } from '../cni/installation.ts';
import { proxyProcess } from '../takeover/proxy.ts';
import { whenProxyHasEnded } from '../takeover/takeover.ts';
import type { HostNetworkOptions } from '../underlay/host-options.ts';
import { isOurs } from '../underlay/host-rules.ts';
import { savedLegacyRules } from '../underlay/legacy-firewall.ts';
import { routesOfTable } from '../underlay/node-routes.ts';
import { HOST_DEVICE, NODES_TABLE, OVERLAY_DEVICE, Preference, TO_DP0_TABLE } from '../underlay/rule-order.ts';

/** The chains by which kube-proxy's iptables mode is recognised. kubelet makes some of the other KUBE- chains. */
const PROXY_CHAIN = /\b(KUBE-SERVICES|KUBE-NODEPORTS)\b/;
/** The table of kube-proxy's nftables mode, and the device of its IPVS mode. */
const PROXY_TABLE = /"name":\s*"kube-proxy"/;
const PROXY_DEVICE = 'kube-ipvs0';
const IPVS_REMAINS =
  'the connections of IPVS cannot be taken over: stop kube-proxy and remove its rules by `kube-proxy --cleanup`, which ends them';

/** A device, as `ip -d -j link` prints it: the properties that are used here. */
interface Link {
  readonly ifname: string;
  readonly linkinfo?: {
    readonly info_kind?: string;
    readonly info_data?: { readonly port?: number; readonly type?: string };
  };
}

const links = (): Link[] => JSON.parse(ipOutput(['-d', '-j', 'link', 'show']) || '[]') as Link[];

/** Whose rules translate the addresses of services on this node; undefined if nobody's. @throws IpCommandError */
function otherProxy(): string | undefined {
  return proxyOf(listRuleset() ?? '', savedLegacyRules(), links());
}

/**
 * @param ruleset output of `nft -j list ruleset`; empty without nft
 * @param legacy output of `iptables-legacy-save`; empty without it
 */
export function proxyOf(ruleset: string, legacy: string, devices: readonly Link[]): string | undefined {
  if (PROXY_TABLE.test(ruleset)) return 'kube-proxy (nftables, table kube-proxy)';
  const chain = PROXY_CHAIN.exec(ruleset)?.[1] ?? PROXY_CHAIN.exec(legacy)?.[1];
  if (chain !== undefined) return `kube-proxy (iptables, chain ${chain})`;
  return devices.some(({ ifname }) => ifname === PROXY_DEVICE)
    ? `kube-proxy (IPVS, device ${PROXY_DEVICE})`
    : undefined;
}

/** How to get rid of it. */
const REMOVE_PROXY =
  'stop kube-proxy and give the agent --takeover, which goes on with its connections and removes its rules; or remove them by `kube-proxy --cleanup`, which ends these';

/**
 * Resolves when no other proxy translates here, or when what kube-proxy has left can be taken over.
 * @throws Error naming it, and what to do
 */
export async function clearOfProxies(takeover: boolean, log: (line: string) => void): Promise<void> {
  const proxy = otherProxy();
  if (takeover && proxy?.includes('IPVS') !== true) return whenProxyHasEnded(log);
  if (proxy === undefined) return;
  const how = takeover ? IPVS_REMAINS : REMOVE_PROXY;
  throw new Error(`${proxy} translates the addresses of services on this node: ${how}`);
}

/** Everything that is in the way, a sentence each. @throws IpCommandError */
export function conflictsOn(
  options: HostNetworkOptions,
  cniDirectory: string | undefined,
  takeover: boolean,
): string[] {
  const devices = links();
  return [
    ...proxyConflicts(takeover),
    ...deviceConflicts(devices, options),
    ...ruleConflicts(),
    ...routeConflicts(),
    ...(cniDirectory === undefined ? [] : pluginConflicts(filesIn(cniDirectory), cniDirectory)),
  ];
}

function proxyConflicts(takeover: boolean): string[] {
  const proxy = otherProxy();
  if (proxy === undefined) return [];
  const isIpvs = proxy.includes('IPVS');
  if (!takeover || isIpvs)
    return [`${proxy} translates the addresses of services here: ${takeover ? IPVS_REMAINS : REMOVE_PROXY}`];
  const pid = proxyProcess();
  return pid === undefined ? [] : [`kube-proxy runs (pid ${pid}): the agent waits until it is stopped`];
}

function deviceConflicts(devices: readonly Link[], options: HostNetworkOptions): string[] {
  const { port } = OVERLAYS[options.overlay].tunnel ?? {};
  const found: string[] = [];
  for (const { ifname, linkinfo: { info_kind: kind = 'none', info_data: data } = {} } of devices) {
    const isOurs = [HOST_DEVICE, OVERLAY_DEVICE].includes(ifname);
    if (isOurs && !(kind === 'tun' && data?.type === 'tap')) {
      found.push(`device ${ifname} exists and is no TAP device: rename or delete it`);
    }
    if (port !== undefined && data?.port === options[port]) {
      found.push(
        `device ${ifname} receives ${kind} on port ${options[port]}: its packets would go to ${HOST_DEVICE}. Delete it, or give its network another port`,
      );
    }
  }
  return found;
}

function ruleConflicts(): string[] {
  const ours = Object.values(Preference) as number[];
  return presentRules()
    .filter((rule) => ours.includes(rule.preference) && !isOurs(rule))
    .map((rule) => `rule \`${ruleWords(rule)}\` has a preference of the agent's rules: give it another one`);
}

function routeConflicts(): string[] {
  return routesOfTable(TO_DP0_TABLE)
    .filter(({ dev }) => dev !== HOST_DEVICE)
    .map(
      ({ dst }) =>
        `routing table ${TO_DP0_TABLE} has a route to ${dst}: the agent needs tables ${TO_DP0_TABLE} and ${NODES_TABLE}`,
    );
}

/** Runtimes use the first configuration in the order of names. */
export function pluginConflicts(files: readonly string[], directory: string): string[] {
  return files
    .filter((name) => /\.(conf|conflist|json)$/.test(name) && name < CNI_CONFIGURATION)
    .map((name) => `${directory}/${name} comes before ${CNI_CONFIGURATION}, and runtimes use the first: move it away`);
}

function filesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}
