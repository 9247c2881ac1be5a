/** A cluster's objects as they would be with others applied or deleted. Nothing is applied; pure. */
import { namespaceLabels } from '../api/namespace-labels.ts';
import { identityOf, withReplaced } from '../api/replaced-objects.ts';
import type { Labels } from '../api/selectors.ts';
import type { ClusterNetworkPolicy } from '../api/types/cluster-network-policy.ts';
import type { NetworkPolicy } from '../api/types/network-policy.ts';
import type { KubeObject, Pod, Service } from '../api/types/objects.ts';

/** The objects on which the way of a connection depends. */
export interface ClusterObjects {
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  readonly policies: readonly (NetworkPolicy | ClusterNetworkPolicy)[];
  /** Labels of namespaces, by name. */
  readonly namespaces: ReadonlyMap<string, Labels>;
}

export interface Change {
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

/** `Service default/web`, or `Namespace shop`. */
export const objectText = ({ kind, metadata }: KubeObject): string =>
  `${kind} ${metadata.namespace ? `${metadata.namespace}/` : ''}${metadata.name}`;

export function appliedObjects(now: ClusterObjects, { objects, remove }: Change): ClusterObjects {
  const replaced = <T extends KubeObject>(before: readonly T[], kinds: readonly string[]): readonly T[] => {
    const given = objects.filter(({ kind }) => kinds.includes(kind));
    if (!remove)
      return withReplaced(
        before,
        given.map((one) => merged(one, before) as T),
      );
    const gone = new Set(given.map(identityOf));
    return before.filter((one) => !gone.has(identityOf(one)));
  };
  const policies = replaced(now.policies as readonly KubeObject[], ['NetworkPolicy', 'ClusterNetworkPolicy']);
  return {
    pods: replaced(now.pods, ['Pod']),
    services: replaced(now.services, ['Service']),
    policies: policies as ClusterObjects['policies'],
    namespaces: namespacesThen(now.namespaces, objects, remove),
  };
}

/** A pod or Service that exists keeps what the cluster has assigned: addresses, node, status. */
function merged(given: KubeObject, now: readonly KubeObject[]): KubeObject {
  const old = now.find((one) => identityOf(one) === identityOf(given)) as
    | (KubeObject & { status?: object })
    | undefined;
  if (old === undefined || (given.kind !== 'Pod' && given.kind !== 'Service')) return given;
  const annotations = { ...old.metadata.annotations, ...given.metadata.annotations };
  const before = (old as { spec?: object }).spec;
  // A pod's labels may change, its place not.
  const kept = given.kind === 'Pod' ? before : serviceSpec(given as Service, old as Service);
  return {
    ...old,
    ...given,
    metadata: { ...old.metadata, ...given.metadata, annotations },
    spec: kept,
    status: old.status,
  } as KubeObject;
}

/** With what the cluster has assigned to the Service, and its manifest does not have: addresses and NodePorts. */
function serviceSpec({ spec }: Service, { spec: before }: Service): Service['spec'] {
  const { clusterIP, clusterIPs } = before;
  const hasNodePorts = spec.type === 'NodePort' || spec.type === 'LoadBalancer';
  const nodePortOf = (port: number, protocol: string): number | undefined =>
    before.ports?.find((one) => one.port === port && (one.protocol ?? 'TCP') === protocol)?.nodePort;
  const ports = spec.ports?.map((port) => {
    const nodePort = port.nodePort ?? nodePortOf(port.port, port.protocol ?? 'TCP');
    return hasNodePorts && nodePort !== undefined ? { ...port, nodePort } : port;
  });
  return {
    ...(clusterIP !== undefined && { clusterIP }),
    ...(clusterIPs !== undefined && { clusterIPs }),
    ...spec,
    ...(ports !== undefined && { ports }),
  };
}

function namespacesThen(
  now: ClusterObjects['namespaces'],
  objects: readonly KubeObject[],
  remove: boolean,
): ClusterObjects['namespaces'] {
  const then = new Map(now);
  for (const { kind, metadata } of objects) {
    if (kind === 'Namespace' && !remove) then.set(metadata.name, namespaceLabels(metadata));
  }
  return then;
}
