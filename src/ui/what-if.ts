/**
 * Which tracked connections would change if objects were applied or deleted: those that policies would allow or deny, and
 * those to Services whose address, port or endpoint would be gone. Nothing is applied; pure.
 */
import type { FlowText } from '../../native-free-dataplane/print/flow.ts';
import { protocolName } from '../../native-free-dataplane/protocols.ts';
import { FrontendKind } from '../../native-free-dataplane/services/table.ts';
import { formatAddress } from '../../native-free-dataplane/wire/address.ts';
import { namespaceLabels } from '../api/namespace-labels.ts';
import { identityOf, withReplaced } from '../api/replaced-objects.ts';
import { slicesOfService } from '../api/service-slices.ts';
import type { EndpointSlice, KubeObject, Pod, Service } from '../api/types/objects.ts';
import { type CompiledPort, compileService } from '../compile/compile-service.ts';
import { changedConnections } from '../observe/policy/diff.ts';
import type { PolicyEnd, PolicyObjects } from '../observe/policy/explain.ts';
import type { SeenConnection } from '../observe/policy/seen.ts';
import type { WhatIfAnswer, WhatIfChange } from './protocol.ts';
import { slicesOf } from './service-slices.ts';

/** The cluster as it is. */
export interface WhatIfCluster extends PolicyObjects {
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  readonly slices: readonly EndpointSlice[];
  /** Addresses of nodes, to which NodePorts belong. */
  readonly nodeAddresses: ReadonlySet<string>;
  /** Connections as policies judge them, and as nodes track them. */
  readonly seen: readonly SeenConnection[];
  readonly flows: readonly FlowText[];
  readonly endsOf: (pods: readonly Pod[]) => (ip: string) => PolicyEnd;
}

export interface WhatIfRequest {
  readonly objects: readonly KubeObject[];
  /** The objects would be deleted, not applied. */
  readonly remove: boolean;
}

/** Kinds on which the way of a connection depends. */
export const WHAT_IF_KINDS: readonly string[] = [
  'NetworkPolicy',
  'ClusterNetworkPolicy',
  'Service',
  'Pod',
  'Namespace',
];

export function whatIf(cluster: WhatIfCluster, { objects, remove }: WhatIfRequest): WhatIfAnswer {
  const replaced = <T extends KubeObject>(now: readonly T[], kinds: readonly string[]): readonly T[] => {
    const given = objects.filter(({ kind }) => kinds.includes(kind));
    if (!remove)
      return withReplaced(
        now,
        given.map((one) => merged(one, now) as T),
      );
    const gone = new Set(given.map(identityOf));
    return now.filter((one) => !gone.has(identityOf(one)));
  };
  const policies = replaced(cluster.policies as readonly KubeObject[], ['NetworkPolicy', 'ClusterNetworkPolicy']);
  const pods = replaced(cluster.pods, ['Pod']);
  const services = replaced(cluster.services, ['Service']);
  const then = {
    ...cluster,
    policies: policies as PolicyObjects['policies'],
    namespaces: namespacesThen(cluster, objects, remove),
  };
  const judged = changedConnections(cluster.seen, cluster.endsOf(cluster.pods), cluster, then, cluster.endsOf(pods));
  return {
    checked: cluster.flows.length,
    changes: [
      ...judged.map(({ from, to, protocol, port, after, deniedBy }): WhatIfChange => {
        const why = after === 'denied' ? deniedBy : `denied now by ${deniedBy}`;
        return { from: from.text, to: to.text, protocol: protocolName(protocol), port, effect: after, why };
      }),
      ...serviceChanges(cluster, pods, services),
    ],
    objects: objects.map(
      ({ kind, metadata }) => `${kind} ${metadata.namespace ? `${metadata.namespace}/` : ''}${metadata.name}`,
    ),
  };
}

/** A pod or Service that exists keeps what the cluster has assigned: addresses, node, status. */
function merged(given: KubeObject, now: readonly KubeObject[]): KubeObject {
  const old = now.find((one) => identityOf(one) === identityOf(given)) as
    | (KubeObject & { status?: object })
    | undefined;
  if (old === undefined || (given.kind !== 'Pod' && given.kind !== 'Service')) return given;
  const { spec } = given as { spec?: object };
  const before = (old as { spec?: object }).spec;
  const annotations = { ...old.metadata.annotations, ...given.metadata.annotations };
  // A pod's labels may change, its place not.
  const kept = given.kind === 'Pod' ? before : { ...assignedOf(before), ...spec };
  return {
    ...old,
    ...given,
    metadata: { ...old.metadata, ...given.metadata, annotations },
    spec: kept,
    status: old.status,
  } as KubeObject;
}

/** What the cluster assigns to a Service whose manifest does not have it. */
function assignedOf(spec: object | undefined): object {
  const { clusterIP, clusterIPs } = (spec ?? {}) as { clusterIP?: string; clusterIPs?: string[] };
  return { clusterIP, clusterIPs };
}

function namespacesThen({ namespaces }: WhatIfCluster, objects: readonly KubeObject[], remove: boolean) {
  const then = new Map(namespaces);
  for (const { kind, metadata } of objects) {
    if (kind === 'Namespace' && !remove) then.set(metadata.name, namespaceLabels(metadata));
  }
  return then;
}

/** Connections through Services whose frontend or endpoint would be gone. */
function serviceChanges(cluster: WhatIfCluster, pods: readonly Pod[], services: readonly Service[]): WhatIfChange[] {
  const slicesNow = (service: Service): EndpointSlice[] => slicesOfService(service, cluster.slices);
  const now = new ServiceLookup(cluster, cluster.services, slicesNow);
  // Services without a selector keep the slices that somebody wrote for them.
  const then = new ServiceLookup(cluster, services, (service) =>
    service.spec.selector === undefined ? slicesNow(service) : slicesOf(service, pods),
  );
  const changes = new Map<string, WhatIfChange>();
  const textOf = cluster.endsOf(cluster.pods);
  for (const { protocol, original, reply, status } of cluster.flows) {
    if (!status.includes('DST_NAT')) continue;
    const before = now.at(original.dst, original.dstPort, protocol);
    const endpoint = `${reply.src}:${reply.srcPort}`;
    if (before === undefined || !before.serving.includes(endpoint)) continue;
    const after = then.at(original.dst, original.dstPort, protocol);
    if (after?.serving.includes(endpoint)) continue;
    const change = {
      from: textOf(original.src).text,
      to: textOf(reply.src).text,
      protocol: protocolName(protocol),
      port: reply.srcPort,
      ...effectOf(after, `${original.dst}:${original.dstPort}`),
    };
    changes.set(JSON.stringify(change), change);
  }
  return [...changes.values()];
}

function effectOf(after: CompiledPort | undefined, frontend: string): Pick<WhatIfChange, 'effect' | 'why'> {
  if (after === undefined) return { effect: 'unreachable', why: `no Service has ${frontend} any more` };
  const name = after.name.split(':', 1)[0];
  if (after.cluster.length === 0) return { effect: 'no-endpoint', why: `Service ${name} has no endpoint any more` };
  const others = after.cluster.map(({ key }) => key).slice(0, 3);
  return {
    effect: 'other-endpoint',
    why: `Service ${name} no longer selects it; new connections go to ${others.join(', ')}`,
  };
}

/** Finds the service port at an address and port, as a node does. */
class ServiceLookup {
  private readonly ports = new Map<string, CompiledPort>();
  private readonly nodeAddresses: ReadonlySet<string>;

  constructor(
    { nodeAddresses }: WhatIfCluster,
    services: readonly Service[],
    slices: (service: Service) => readonly EndpointSlice[],
  ) {
    this.nodeAddresses = nodeAddresses;
    for (const service of services) {
      for (const port of compileService(service, slices(service), { nodeName: '' }).ports) {
        for (const { kind, address, port: number } of port.frontends) {
          const host = kind === FrontendKind.NODE_PORT ? 'node' : formatAddress(address);
          this.ports.set(`${host}:${number}/${port.protocol}`, port);
        }
      }
    }
  }

  at(ip: string, port: number, protocol: number): CompiledPort | undefined {
    const own = this.ports.get(`${ip}:${port}/${protocol}`);
    return own ?? (this.nodeAddresses.has(ip) ? this.ports.get(`node:${port}/${protocol}`) : undefined);
  }
}
