/** The rule set kube-proxy writes in nftables mode, for `nft -f`: one table, a verdict map from (address, protocol, port) to
 * the service's chain, a random pick among its endpoints' chains (kubernetes: pkg/proxy/nftables/proxier.go and its README). */
import { chainHash, type ServicePort } from './service-port.ts';

const MARK = '0x4000';
/** Elements per `add element` command: keeps single netlink messages small. */
const ELEMENTS_AT_ONCE = 500;

/** Parts of an nft script, in an order in which every chain exists before something points to it. */
export function* nftablesRules(services: Iterable<ServicePort>, podCidr: string, nodeIp: string): Generator<string> {
  const all = [...services];
  yield `table ip kube-proxy {
  set cluster-ips { type ipv4_addr; comment "Active ClusterIPs"; }
  set nodeport-ips { type ipv4_addr; comment "IPs that accept NodePort traffic"; elements = { ${nodeIp} } }
  map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; comment "vmap to drop or reject packets to services with no endpoints"; }
  map no-endpoint-nodeports { type inet_proto . inet_service : verdict; comment "vmap to drop or reject packets to service nodeports with no endpoints"; }
  map firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; comment "destinations that are subject to LoadBalancerSourceRanges"; }
  map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; comment "ClusterIP, ExternalIP and LoadBalancer IP traffic"; }
  map service-nodeports { type inet_proto . inet_service : verdict; comment "NodePort traffic"; }
  chain mark-for-masquerade { mark set mark or ${MARK}; }
  chain masquerading { mark and ${MARK} == 0 return; mark set mark xor ${MARK}; masquerade fully-random; }
  chain reject-chain { reject; }
  chain cluster-ips-check { ip daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"; }
  chain service-endpoints-check { ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }
  chain nodeport-endpoints-check { ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports; }
  chain firewall-check { ip daddr . meta l4proto . th dport vmap @firewall-ips; }
  chain services {
    ip daddr . meta l4proto . th dport vmap @service-ips
    ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
  }
  chain filter-prerouting-pre-dnat { type filter hook prerouting priority -110; ct state new jump firewall-check; }
  chain filter-output-pre-dnat { type filter hook output priority -110; ct state new jump firewall-check; }
  chain filter-input { type filter hook input priority 0; ct state new jump nodeport-endpoints-check; ct state new jump service-endpoints-check; }
  chain filter-forward { type filter hook forward priority 0; ct state new jump service-endpoints-check; ct state new jump cluster-ips-check; }
  chain filter-output { type filter hook output priority 0; ct state new jump service-endpoints-check; ct state new jump cluster-ips-check; }
  chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
  chain nat-output { type nat hook output priority -100; jump services; }
  chain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }
}
`;
  for (const service of all) yield nftablesChange(service, podCidr);
  const ips = [...new Set(all.map(({ clusterIp }) => clusterIp))];
  const active = all.filter(({ endpoints }) => endpoints.length > 0);
  yield* elements('cluster-ips', ips);
  yield* elements(
    'service-ips',
    active.map((s) => `${s.clusterIp} . ${s.protocol} . ${s.port} : goto ${chains(s).service}`),
  );
  yield* elements(
    'service-nodeports',
    active.filter((s) => s.nodePort).map((s) => `${s.protocol} . ${s.nodePort} : goto ${chains(s).external}`),
  );
}

/** One service's chains, made or made anew: kube-proxy's transaction after a change of its endpoints. */
export function nftablesChange(service: ServicePort, podCidr: string): string {
  const names = chains(service);
  const { clusterIp, protocol, port, endpoints } = service;
  let text = '';
  endpoints.forEach((endpoint, at) => {
    const chain = `ip kube-proxy ${names.endpoints[at]}`;
    text += `add chain ${chain}\nflush chain ${chain}\n`;
    text += `add rule ${chain} ip saddr ${endpoint.ip} jump mark-for-masquerade\n`;
    text += `add rule ${chain} meta l4proto ${protocol} dnat to ${endpoint.ip}:${endpoint.port}\n`;
  });
  const chain = `ip kube-proxy ${names.service}`;
  const pick = names.endpoints.map((name, at) => `${at} : goto ${name}`).join(' , ');
  text += `add chain ${chain}\nflush chain ${chain}\n`;
  text += `add rule ${chain} ip daddr ${clusterIp} ${protocol} dport ${port} ip saddr != ${podCidr} jump mark-for-masquerade\n`;
  text += `add rule ${chain} numgen random mod ${endpoints.length} vmap { ${pick} }\n`;
  if (service.nodePort) {
    const external = `ip kube-proxy ${names.external}`;
    text += `add chain ${external}\nflush chain ${external}\n`;
    text += `add rule ${external} jump mark-for-masquerade\nadd rule ${external} goto ${names.service}\n`;
  }
  return text;
}

function chains({ name, protocol, endpoints }: ServicePort): {
  service: string;
  external: string;
  endpoints: string[];
} {
  // pkg/proxy/nftables: HASH-namespace/service/protocol/portname
  const tail = `${chainHash(name + protocol, 8)}-${name.replace(':', `/${protocol}/`)}`;
  return {
    service: `service-${tail}`,
    external: `external-${tail}`,
    endpoints: endpoints.map(
      ({ ip, port }) =>
        `endpoint-${chainHash(`${name}${protocol}${ip}:${port}`, 8)}-${name.replace(':', `/${protocol}/`)}__${ip}/${port}`,
    ),
  };
}

function* elements(set: string, items: string[]): Generator<string> {
  for (let at = 0; at < items.length; at += ELEMENTS_AT_ONCE) {
    yield `add element ip kube-proxy ${set} { ${items.slice(at, at + ELEMENTS_AT_ONCE).join(', ')} }\n`;
  }
}
