/** The rule set kube-proxy writes in iptables mode, for `iptables-restore`: same chains, same order, same matches
 * (kubernetes: pkg/proxy/iptables/proxier.go; marks from pkg/proxy/util). A generator, so that 10 or 50,000 services
 * come out in the shape a real node has. */
import { chainHash, type ServicePort } from './service-port.ts';

const MASQUERADE = '0x4000/0x4000';

/**
 * Parts of a restore file: services are yielded one by one, because 50,000 of them are hundreds of megabytes of text.
 */
export function* iptablesRules(services: Iterable<ServicePort>, podCidr: string): Generator<string> {
  const all = [...services];
  yield `*filter
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark ${MASQUERADE} -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
*nat
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
`;
  for (const service of all) yield declareChains(service);
  yield `-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark ${MASQUERADE}
-A KUBE-POSTROUTING -m mark ! --mark ${MASQUERADE} -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
`;
  for (const service of all) yield dispatchRules(service) + serviceRules(service, podCidr);
  yield `-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
COMMIT
`;
}

/** What kube-proxy sends with `--noflush` after the endpoints of one service changed: that service's chains, anew. */
export function iptablesChange(service: ServicePort, podCidr: string): string {
  return `*nat\n${declareChains(service)}${serviceRules(service, podCidr)}COMMIT\n`;
}

function chains(service: ServicePort): { svc: string; ext: string; seps: string[] } {
  const { name, protocol } = service;
  return {
    svc: `KUBE-SVC-${chainHash(name + protocol, 16)}`,
    ext: `KUBE-EXT-${chainHash(name + protocol, 16)}`,
    seps: service.endpoints.map(({ ip, port }) => `KUBE-SEP-${chainHash(`${name}${protocol}${ip}:${port}`, 16)}`),
  };
}

function declareChains(service: ServicePort): string {
  const { svc, ext, seps } = chains(service);
  const names = service.nodePort ? [svc, ext, ...seps] : [svc, ...seps];
  return names.map((name) => `:${name} - [0:0]\n`).join('');
}

function dispatchRules({ name, protocol, clusterIp, port, nodePort, endpoints }: ServicePort): string {
  const { svc, ext } = chains({ name, protocol, clusterIp, port, endpoints: [] });
  const cluster = `-A KUBE-SERVICES -d ${clusterIp}/32 -p ${protocol} -m comment --comment "${name} cluster IP" -m ${protocol} --dport ${port} -j ${svc}\n`;
  if (!nodePort || endpoints.length === 0) return cluster;
  return `${cluster}-A KUBE-NODEPORTS -p ${protocol} -m comment --comment "${name}" -m ${protocol} --dport ${nodePort} -j ${ext}\n`;
}

function serviceRules(service: ServicePort, podCidr: string): string {
  const { name, protocol, clusterIp, port, endpoints } = service;
  const { svc, ext, seps } = chains(service);
  let rules = `-A ${svc} ! -s ${podCidr} -d ${clusterIp}/32 -p ${protocol} -m comment --comment "${name} cluster IP" -m ${protocol} --dport ${port} -j KUBE-MARK-MASQ\n`;
  endpoints.forEach((endpoint, at) => {
    const left = endpoints.length - at;
    // The k-th of n rules matches with probability 1/(n-k), so each endpoint gets 1/n. The last one matches always.
    const dice = left > 1 ? ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}` : '';
    const to = `${endpoint.ip}:${endpoint.port}`;
    rules += `-A ${svc} -m comment --comment "${name} -> ${to}"${dice} -j ${seps[at]}\n`;
    rules += `-A ${seps[at]} -s ${endpoint.ip}/32 -m comment --comment "${name}" -j KUBE-MARK-MASQ\n`;
    rules += `-A ${seps[at]} -p ${protocol} -m comment --comment "${name}" -m ${protocol} -j DNAT --to-destination ${to}\n`;
  });
  if (service.nodePort) {
    rules += `-A ${ext} -m comment --comment "masquerade traffic for ${name} external destinations" -j KUBE-MARK-MASQ\n`;
    rules += `-A ${ext} -j ${svc}\n`;
  }
  return rules;
}
