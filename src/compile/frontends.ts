/**
 * The addresses of a service port, and which of the user-specified ones are served.
 *
 * The API assigns ClusterIPs. External and load-balancer addresses are specified by users: unless the operator listed
 * them, one user could take another's traffic (CVE-2020-8554), so they are checked here again, for API servers other
 * than ours.
 */
import type { FrontendContents } from '../../native-free-dataplane/services/contents.ts';
import { FrontendKind } from '../../native-free-dataplane/services/table.ts';
import { addressWords } from '../../native-free-dataplane/wire/address.ts';
import type { ClusterOptions } from '../api/cluster-options.ts';
import type { Service, ServicePort } from '../api/types/objects.ts';
import { contains, parseIp, parseRange } from '../net/address.ts';
import { UNUSABLE_NETWORKS } from '../net/reserved.ts';

/** The operator's rules about addresses, of the cluster's options, and the nodes' addresses. */
export type AddressRules = Pick<
  ClusterOptions,
  'externalIpCidrs' | 'loadBalancerPool' | 'podCidr' | 'serviceCidr' | 'underlayCidr'
> & {
  /** Addresses of the cluster's nodes, by name, which no service may have. */
  readonly nodeAddresses?: ReadonlyMap<string, string>;
};

const NO_ADDRESS = new Int32Array(4);

/**
 * Addresses of a service port, ClusterIPs first.
 * @param rules undefined leaves the operator's lists to the API server's admission
 * @param refuse called with every address that is not served, and the reason
 */
export function frontendsOf(
  { spec, status }: Service,
  port: ServicePort,
  rules: AddressRules | undefined,
  refuse: (what: string) => void,
): FrontendContents[] {
  const found: FrontendContents[] = [];
  const add = (kind: FrontendKind, text: string | undefined): void => {
    // IPv6 is not forwarded yet.
    if (text?.includes('.')) found.push({ kind, address: addressWords(text), port: port.port });
  };
  const addGiven = (kind: FrontendKind, text: string, listed: readonly string[] | undefined, option: string): void => {
    if (!text.includes('.')) return;
    const why = whyNot(text, rules, listed, option);
    if (why === undefined) add(kind, text);
    else refuse(`address ${text}: ${why}`);
  };

  for (const ip of spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP]) add(FrontendKind.CLUSTER_IP, ip);
  for (const ip of spec.externalIPs ?? []) {
    addGiven(FrontendKind.EXTERNAL_IP, ip, rules?.externalIpCidrs, 'externalIpCidrs');
  }
  if (spec.type === 'LoadBalancer') {
    const listed = rules && [...rules.loadBalancerPool, ...rules.externalIpCidrs];
    for (const { ip, ipMode } of status?.loadBalancer?.ingress ?? []) {
      // ipMode Proxy: the load balancer must see the packets itself (KEP-1860).
      if (ip && ipMode !== 'Proxy') addGiven(FrontendKind.LOAD_BALANCER, ip, listed, 'loadBalancerPool');
    }
  }
  if (port.nodePort) found.push({ kind: FrontendKind.NODE_PORT, address: NO_ADDRESS, port: port.nodePort });
  return found;
}

function whyNot(
  text: string,
  rules: AddressRules | undefined,
  listed: readonly string[] | undefined,
  option: string,
): string | undefined {
  const ip = parseIp(text);
  if (ip === undefined) return 'no IP address';
  const inside = (range: string): boolean => {
    const parsed = parseRange(range);
    return parsed !== undefined && contains(parsed, ip);
  };
  if (UNUSABLE_NETWORKS.some((network) => contains(network, ip))) return 'loopback, link-local or multicast';
  if (!rules || !listed) return undefined;
  if ([...(rules.nodeAddresses?.values() ?? [])].includes(text)) return 'an address of a node';
  if (inside(rules.podCidr)) return 'an address of the pod network';
  if (inside(rules.serviceCidr)) return 'an address of the service network';
  return listed.some(inside) ? undefined : `not in the cluster option ${option}`;
}
