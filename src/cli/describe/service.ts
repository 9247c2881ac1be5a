/**
 * A service in full, in kubectl's layout (k8s.io/kubectl/pkg/describe, describeService), followed by its state on each
 * node of this machine, read from the tables that the pipeline reads.
 */
import { formatAddress } from '../../../native-free-dataplane/wire/address.ts';
import type { ApiClient } from '../../api/client/client.ts';
import { firstThree } from '../../api/tables/cells.ts';
import type { EndpointSlice, Service, ServicePort } from '../../api/types/objects.ts';
import { WellKnown } from '../../api/types/objects.ts';
import { layOut } from '../output/table.ts';
import { type Block, block, type Line } from '../output/text.ts';
import { type PortInForce, readServiceNodes, type ServiceOnNode } from '../sources/service.ts';
import { annotationLines, labelLines } from './pod.ts';

export async function describeService(client: ApiClient, service: Service): Promise<Block> {
  const { metadata, spec, status } = service;
  const slices = await client.list('EndpointSlice', {
    namespace: metadata.namespace ?? 'default',
    labelSelector: `${WellKnown.SERVICE_NAME}=${metadata.name}`,
  });
  const ingress = (status?.loadBalancer?.ingress ?? []).map(
    ({ ip, hostname, ipMode }) => `${ip ?? hostname ?? ''}${ipMode === undefined ? '' : ` (${ipMode})`}`,
  );
  const selector = Object.entries(spec.selector ?? {}).map((pair) => pair.join('='));
  const nodes = readServiceNodes(service);
  return block(
    ['Name', metadata.name],
    ['Namespace', metadata.namespace ?? ''],
    ['Labels', labelLines(metadata.labels)],
    ['Annotations', annotationLines(metadata.annotations)],
    ['Selector', selector.join(',') || '<none>'],
    ['Type', spec.type ?? 'ClusterIP'],
    ['IP Family Policy', spec.ipFamilyPolicy ?? 'SingleStack'],
    ['IP Families', (spec.ipFamilies ?? []).join(',') || '<none>'],
    ['IP', spec.clusterIP ?? ''],
    ['IPs', (spec.clusterIPs ?? []).join(',') || '<none>'],
    spec.externalIPs?.length ? ['External IPs', spec.externalIPs.join(',')] : undefined,
    spec.loadBalancerIP ? ['Desired LoadBalancer IP', spec.loadBalancerIP] : undefined,
    ingress.length > 0 ? ['LoadBalancer Ingress', ingress.join(', ')] : undefined,
    spec.externalName ? ['External Name', spec.externalName] : undefined,
    ...(spec.ports ?? []).flatMap((port) => portLines(port, slices.items)),
    ['Session Affinity', spec.sessionAffinity ?? 'None'],
    spec.externalTrafficPolicy ? ['External Traffic Policy', spec.externalTrafficPolicy] : undefined,
    spec.internalTrafficPolicy ? ['Internal Traffic Policy', spec.internalTrafficPolicy] : undefined,
    spec.trafficDistribution ? ['Traffic Distribution', spec.trafficDistribution] : undefined,
    spec.healthCheckNodePort ? ['HealthCheck NodePort', String(spec.healthCheckNodePort)] : undefined,
    spec.loadBalancerSourceRanges?.length
      ? ['LoadBalancer Source Ranges', spec.loadBalancerSourceRanges.join(',')]
      : undefined,
    nodes.length > 0 ? ['Nodes', block(...nodes.map((node): Line => [node.node, nodeBlock(node)]))] : undefined,
  );
}

function portLines(port: ServicePort, slices: readonly EndpointSlice[]): Line[] {
  const protocol = port.protocol ?? 'TCP';
  const name = port.name || '<unset>';
  return [
    ['Port', `${name}  ${port.port}/${protocol}`],
    ['TargetPort', `${port.targetPort ?? port.port}/${protocol}`],
    ...(port.nodePort ? [['NodePort', `${name}  ${port.nodePort}/${protocol}`] satisfies Line] : []),
    ['Endpoints', firstThree(endpointsOf(port, slices), '')],
  ];
}

/** Ready endpoints of a port, as address:port. */
function endpointsOf({ name = '', protocol = 'TCP' }: ServicePort, slices: readonly EndpointSlice[]): string[] {
  const found = slices.flatMap(({ endpoints, ports = [] }) => {
    const own = ports.find((port) => (port.name ?? '') === name && (port.protocol ?? 'TCP') === protocol);
    if (own === undefined) return [];
    const ready = endpoints.filter(({ conditions }) => conditions?.ready ?? true);
    return ready.flatMap(({ addresses }) => addresses.slice(0, 1).map((ip) => `${ip}:${own.port}`));
  });
  return [...new Set(found)];
}

function nodeBlock({ ports }: ServiceOnNode): Block {
  return block(...ports.flatMap(portInForce));
}

function portInForce({ port, view, clients }: PortInForce): Line[] {
  const title: Line = ['Port', `${port.name || '<unset>'}  ${port.port}/${port.protocol ?? 'TCP'}`];
  if (view === undefined) return [title, ['In Force', 'no']];
  const all = new Map([...view.cluster, ...view.local].map((endpoint) => [endpoint.id, endpoint]));
  const local = new Set(view.local.map(({ id }) => id));
  const near = new Set(view.cluster.map(({ id }) => id));
  const rows = [...all.values()].map(({ id, address, port: number, connections, packets }) => [
    `${formatAddress(address)}:${number}`,
    [near.has(id) && 'cluster', local.has(id) && 'local'].filter(Boolean).join(','),
    String(connections),
    String(packets),
    ...(view.affinitySeconds > 0 ? [String(clients.filter(({ endpoint }) => endpoint === id).length)] : []),
  ]);
  const headers = ['ENDPOINT', 'SETS', 'CONNECTIONS', 'PACKETS', ...(view.affinitySeconds > 0 ? ['CLIENTS'] : [])];
  const table =
    rows.length === 0
      ? ['<none>']
      : layOut([headers, ...rows])
          .trimEnd()
          .split('\n');
  return [
    title,
    ['Algorithm', view.maglev ? 'Maglev' : 'random'],
    ...(view.affinitySeconds > 0
      ? [['Affinity', `ClientIP, ${view.affinitySeconds}s, clients: ${clients.length}`] satisfies Line]
      : []),
    ['Endpoints', table],
  ];
}
