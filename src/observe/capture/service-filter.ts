/** A Service as a filter of frames: its addresses on the clients' side, and its endpoints behind the translation. */
import { slicesOfService } from '../../api/service-slices.ts';
import type { EndpointSlice, NodeObject, Service } from '../../api/types/objects.ts';
import { parseIp } from '../../net/address.ts';

/** An expression of tcpdump. Undefined if the Service has neither an address nor an endpoint. */
export function serviceFilter(
  service: Service,
  slices: readonly EndpointSlice[],
  nodes: readonly NodeObject[],
): string | undefined {
  const { spec, status } = service;
  const addresses = [
    ...(spec.clusterIPs ?? [spec.clusterIP]),
    ...(spec.externalIPs ?? []),
    ...(status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip),
  ];
  const ofNodes = nodes.flatMap((node) => (node.status?.addresses ?? []).map(({ address }) => address));
  const own = slicesOfService(service, slices);
  const parts = (spec.ports ?? []).flatMap(({ name, port, nodePort, protocol = 'TCP' }) => {
    const at = (number: number | undefined, hosts: readonly (string | undefined)[]): string[] => {
      const known = [...new Set(hosts.filter((host): host is string => parseIp(host ?? '')?.family === 4))];
      if (number === undefined || known.length === 0) return [];
      return [`(${protocol.toLowerCase()} port ${number} and (${known.map((host) => `host ${host}`).join(' or ')}))`];
    };
    const endpoints = own.flatMap(({ ports, endpoints: all }) => {
      const target = ports?.find((one) => (one.name ?? '') === (name ?? ''))?.port;
      return at(
        target,
        all.flatMap((one) => one.addresses),
      );
    });
    return [...at(port, addresses), ...at(nodePort, ofNodes), ...endpoints];
  });
  return parts.length === 0 ? undefined : parts.join(' or ');
}
