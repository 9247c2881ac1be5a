/**
 * Removes what agents have made in a node's network namespace: found in the kernel, so that it also works after a crash and
 * for the rules of former versions. Settings are restored from what the agent kept of them (former-state.ts).
 */
import { ipBatch } from '../../linux/ip-command.ts';
import { presentRules, ruleWords } from '../../linux/rules.ts';
import { readSysctl, releasePorts, sysctl } from '../../linux/sysctl.ts';
import { removeFirewallRules } from './firewall.ts';
import type { FormerHost } from './former-state.ts';
import { isOurs, LOCAL_FIRST } from './host-rules.ts';
import { wantedSettings } from './host-sysctls.ts';
import { removeLegacyAccepts } from './legacy-firewall.ts';
import { presentNodeRoutes, presentRoutes } from './node-routes.ts';
import { HOST_DEVICE, NODES_TABLE, OVERLAY_DEVICE } from './rule-order.ts';
import { NO_SHORTCUT, nft } from './shortcut.ts';

/** What was removed or restored. */
export interface RemovedHostState {
  devices: readonly string[];
  rules: number;
  routes: number;
  settings: number;
}

/** Remove everything, in the network namespace of this process. @throws IpCommandError; what follows is then still there */
export function removeHostState(former: FormerHost): RemovedHostState {
  nft(NO_SHORTCUT);
  removeFirewallRules(former.nameServer);
  removeLegacyAccepts(former.nameServer);
  const rules = removeRules();
  const devices = [HOST_DEVICE, OVERLAY_DEVICE].filter(hasDevice);
  const routes = removeRoutes(devices);
  return { devices, rules, routes, settings: restoreSettings(former) };
}

/** The kernel's default rule comes back first: without a rule for local addresses the node would not receive anything. */
function removeRules(): number {
  const present = presentRules();
  const hasDefault = present.map(ruleWords).includes(ruleWords(LOCAL_FIRST));
  const ours = present.filter(isOurs);
  const commands = [
    ...(hasDefault ? [] : [`rule add ${ruleWords(LOCAL_FIRST)}`]),
    ...ours.map((rule) => `rule del ${ruleWords(rule)}`),
  ];
  if (commands.length > 0) ipBatch(commands);
  return ours.length;
}

/** Routes to dp0 go with it. */
function removeRoutes(devices: readonly string[]): number {
  const routes = devices.includes(HOST_DEVICE) ? presentRoutes().size : 0;
  const toNodes = [...presentNodeRoutes().keys()];
  const commands = [
    ...toNodes.map((to) => `route del ${to} table ${NODES_TABLE}`),
    ...devices.map((device) => `link del ${device}`),
  ];
  if (commands.length > 0) ipBatch(commands);
  return routes + toNodes.length;
}

const hasDevice = (device: string): boolean => readSysctl(`net/ipv4/conf/${device}/forwarding`) !== undefined;

/** Settings that somebody else has changed since stay. */
function restoreSettings({ sysctls, unreservedPorts }: FormerHost): number {
  let restored = 0;
  for (const [name, value] of Object.entries(sysctls)) {
    if (isAsWanted(name)) restored += sysctl(name, value, true);
  }
  if (unreservedPorts.length > 0) releasePorts(unreservedPorts);
  return restored;
}

function isAsWanted(name: string): boolean {
  const device = /^net\/ipv4\/conf\/([^/]+)\//.exec(name)?.[1] ?? '';
  const wanted = wantedSettings({ underlayDevice: device }).find((setting) => setting.name === name);
  return wanted !== undefined && readSysctl(name) === wanted.value;
}
