/** Whether the cluster's options are consistent: networks must not overlap, ranges must be ranges. */
import { isTimeoutName, MAX_TIMEOUT_SECONDS } from '../../native-free-dataplane/conntrack/timeouts.ts';
import type { ClusterOptions } from '../api/cluster-options.ts';
import {
  type Cidr,
  contains,
  type Range as IpRange,
  overlap,
  parseCidr,
  parseRange,
  printCidr,
  printIp,
} from '../net/address.ts';
import { parseNameServer } from '../net/name-server.ts';
import { UNUSABLE_NETWORKS } from '../net/reserved.ts';

/** The cluster's options are inconsistent; the message names them. */
export class ClusterOptionsError extends Error {
  override readonly name = 'ClusterOptionsError';
  readonly code = 'ERR_CLUSTER_OPTIONS';
}

/** The options' networks as numbers. */
export interface Ranges {
  pod: Cidr;
  service: Cidr;
  underlay: Cidr;
  external: Cidr[];
}

/**
 * The networks and ranges of the options. Throws ClusterOptionsError, whose message names the options by their keys.
 */
export function checkOptions(options: ClusterOptions): Ranges {
  const cidr = (name: string, text: string) => {
    const parsed = parseCidr(text);
    if (parsed === undefined) throw new ClusterOptionsError(`${name} ${text}: expected a CIDR such as 10.0.0.0/16`);
    return parsed;
  };
  const names = ['podCidr', 'serviceCidr', 'underlayCidr'] as const;
  const ranges = names.map((name) => cidr(name, options[name]));
  ranges.forEach((range, i) => {
    const reserved = UNUSABLE_NETWORKS.find((each) => overlap(each, range));
    if (reserved !== undefined) {
      const what = `${names[i]} ${options[names[i]!]} lies in ${printCidr(reserved)}`;
      throw new ClusterOptionsError(`${what}, which no host may use: choose a private network such as 10.0.0.0/16`);
    }
    for (let j = 0; j < i; j++) {
      if (!overlap(range, ranges[j]!)) continue;
      const pair = `${names[j]} ${options[names[j]!]} and ${names[i]} ${options[names[i]!]}`;
      throw new ClusterOptionsError(`${pair} overlap: choose networks that have no address in common`);
    }
  });
  const [pod, service, underlay] = ranges as [Cidr, Cidr, Cidr];
  if (pod.family === 4 && pod.prefix > 24)
    throw new ClusterOptionsError(`podCidr ${options.podCidr}: no room for a /24`);
  // Its first address is that of Service kubernetes, its tenth that of cluster DNS.
  if (service.last - service.first < 15n) {
    throw new ClusterOptionsError(`serviceCidr ${options.serviceCidr}: too small, expected at least 16 addresses`);
  }
  for (const text of options.dnsUpstreams) {
    if (parseNameServer(text) === undefined) {
      throw new ClusterOptionsError(`dnsUpstreams ${text}: expected an IPv4 address, or ADDRESS:PORT`);
    }
  }
  const [first, last] = options.nodePortRange;
  if (!(first >= 1 && first <= last && last <= 65535)) {
    throw new ClusterOptionsError(`nodePortRange ${first}-${last}: expected two ports, the lower one first`);
  }
  checkMasqueradePorts(options.masqueradePorts, options.nodePortRange);
  for (const text of options.loadBalancerPool) {
    const range = parseRange(text);
    if (range === undefined) throw new ClusterOptionsError(`loadBalancerPool ${text}: expected a CIDR or first-last`);
    for (const [name, own] of [
      ['podCidr', pod],
      ['serviceCidr', service],
    ] as const) {
      if (!overlap(range, own)) continue;
      const pair = `loadBalancerPool ${text} and ${name} ${options[name]}`;
      throw new ClusterOptionsError(`${pair} overlap: choose addresses that the cluster does not use`);
    }
    checkUnderlay('loadBalancerPool', text, range, underlay);
  }
  for (const [name, seconds] of Object.entries(options.conntrackTimeouts)) {
    if (!isTimeoutName(name)) throw new ClusterOptionsError(`conntrackTimeouts: there is no timeout "${name}"`);
    if (!(seconds >= 1 && seconds <= MAX_TIMEOUT_SECONDS)) {
      throw new ClusterOptionsError(
        `conntrackTimeouts ${name} ${seconds}: expected 1 to ${MAX_TIMEOUT_SECONDS} seconds`,
      );
    }
  }
  const external = options.externalIpCidrs.map((text) => cidr('externalIpCidrs', text));
  for (const [j, range] of external.entries()) {
    const text = options.externalIpCidrs[j]!;
    // CVE-2020-8554: an external IP must never be the address of a pod, a service or a node.
    for (const [i, own] of [pod, service].entries()) {
      if (!overlap(range, own)) continue;
      const pair = `externalIpCidrs ${text} and ${names[i]} ${options[names[i]!]}`;
      throw new ClusterOptionsError(`${pair} overlap: choose addresses that the cluster does not use`);
    }
    checkUnderlay('externalIpCidrs', text, range, underlay);
  }
  return { pod, service, underlay, external };
}

/**
 * Addresses for services may lie in the underlay, where MetalLB and kube-vip announce them. Those of nodes are refused, or
 * skipped, one by one (controllers/services); these three are never free.
 */
function checkUnderlay(name: string, text: string, range: IpRange, underlay: Cidr): void {
  for (const value of [underlay.first, underlay.first + 1n, underlay.last]) {
    if (!contains(range, { family: underlay.family, value })) continue;
    const own = printIp({ family: underlay.family, value });
    throw new ClusterOptionsError(`${name} ${text} holds ${own}: the network, outside or broadcast address`);
  }
}

/** Limits of the range: no privileged ports, and none that a policy routing rule cannot match. */
const [LOWEST_MASQUERADE_PORT, HIGHEST_MASQUERADE_PORT] = [1024, 65534];

function checkMasqueradePorts([first, last]: Range, [firstNodePort, lastNodePort]: Range): void {
  const range = `masqueradePorts ${first}-${last}`;
  if (!(first >= LOWEST_MASQUERADE_PORT && first <= last && last <= HIGHEST_MASQUERADE_PORT)) {
    const allowed = `${LOWEST_MASQUERADE_PORT} to ${HIGHEST_MASQUERADE_PORT}`;
    throw new ClusterOptionsError(`${range}: expected two ports from ${allowed}, the lower one first`);
  }
  if (first <= lastNodePort && firstNodePort <= last) {
    const nodePorts = `nodePortRange ${firstNodePort}-${lastNodePort}`;
    throw new ClusterOptionsError(`${range} and ${nodePorts} overlap: choose ranges apart`);
  }
}

type Range = readonly [first: number, last: number];
