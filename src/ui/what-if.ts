/**
 * Which tracked connections would change if objects were applied or deleted: those that policies would allow or deny, and
 * those to Services whose address, port or endpoint would be gone. Nothing is applied; pure.
 */
import type { FlowText } from '../../native-free-dataplane/print/flow.ts';
import { protocolName } from '../../native-free-dataplane/protocols.ts';
import { FrontendKind } from '../../native-free-dataplane/services/table.ts';
import { formatAddress } from '../../native-free-dataplane/wire/address.ts';
import { slicesOfService } from '../api/service-slices.ts';
import type { EndpointSlice, Pod, Service } from '../api/types/objects.ts';
import { type CompiledPort, compileService } from '../compile/compile-service.ts';
import { changedConnections } from '../observe/policy/diff.ts';
import type { PolicyEnd, PolicyObjects } from '../observe/policy/explain.ts';
import type { SeenConnection } from '../observe/policy/seen.ts';
import { appliedObjects, type Change, type ClusterObjects, objectText } from './applied-objects.ts';
import type { WhatIfAnswer, WhatIfChange } from './protocol.ts';
import { slicesOf } from './service-slices.ts';

/** The cluster as it is. */
export interface WhatIfCluster extends ClusterObjects, Pick<PolicyObjects, 'nodes'> {
  readonly slices: readonly EndpointSlice[];
  /** Addresses of nodes, to which NodePorts belong. */
  readonly nodeAddresses: ReadonlySet<string>;
  /** Connections as policies judge them, and as nodes track them. */
  readonly seen: readonly SeenConnection[];
  readonly flows: readonly FlowText[];
  readonly endsOf: (pods: readonly Pod[]) => (ip: string) => PolicyEnd;
}

export function whatIf(cluster: WhatIfCluster, change: Change): WhatIfAnswer {
  const { pods, services, policies, namespaces } = appliedObjects(cluster, change);
  const then = { ...cluster, policies, namespaces };
  const judged = changedConnections(cluster.seen, cluster.endsOf(cluster.pods), cluster, then, cluster.endsOf(pods));
  return {
    // As changes are: a client's connections to a port are one.
    checked: cluster.seen.length,
    changes: [
      ...judged.map(({ from, to, protocol, port, after, deniedBy }): WhatIfChange => {
        const why = after === 'denied' ? deniedBy : `denied now by ${deniedBy}`;
        return { from: from.text, to: to.text, protocol: protocolName(protocol), port, effect: after, why };
      }),
      ...serviceChanges(cluster, pods, services),
    ],
    objects: change.objects.map(objectText),
  };
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
