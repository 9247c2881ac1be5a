/**
 * Who has an address: an index of pods, nodes and Services that follows the cluster, for flows by the thousand.
 *
 * A pod's address keeps its name after the pod was deleted, until another pod gets it: its last connections end later.
 */
import { isEnded } from '../../api/pod-phase.ts';
import type { NodeObject, Pod, Service } from '../../api/types/objects.ts';
import type { PolicyPod } from '../../compile/policies/pod-classes.ts';
import { policyPod } from '../../compile/policies/policy-objects.ts';
import { type FlowEndpoint, type NamespacedName, ReservedIdentity, reservedEndpoint } from '../hubble/flow.ts';

export interface Owner {
  readonly endpoint: FlowEndpoint;
  /** Node of a pod; the node itself for a node's address. */
  readonly node: string | undefined;
}

const WORLD: Owner = { endpoint: reservedEndpoint(ReservedIdentity.WORLD), node: undefined };

/** Identities below are reserved, those above belong to a node (cilium pkg/identity/numericidentity.go). */
const FIRST_IDENTITY = 256;
const IDENTITIES = 65_536 - FIRST_IDENTITY;

export class FlowAddresses {
  private readonly pods = new Map<string, Owner & { readonly pod: Pod }>();
  private readonly nodes = new Map<string, string>();
  /** By `ADDRESS:PORT/PROTOCOL`; NodePorts without an address. */
  private readonly services = new Map<string, NamespacedName>();

  setPod(pod: Pod): void {
    const { status, spec } = pod;
    const ip = status?.podIP;
    if (ip === undefined || spec.hostNetwork || isEnded(pod)) return;
    this.pods.set(ip, { endpoint: podEndpoint(pod), node: spec.nodeName, pod });
  }

  setNode({ metadata, status }: NodeObject): void {
    for (const { address } of status?.addresses ?? []) this.nodes.set(address, metadata.name);
  }

  setService(service: Service): void {
    for (const key of keysOf(service)) {
      this.services.set(key, { name: service.metadata.name, namespace: service.metadata.namespace ?? 'default' });
    }
  }

  removeService(service: Service): void {
    for (const key of keysOf(service)) this.services.delete(key);
  }

  /** @param observer the node that has seen the packet: its own address is the host, that of others a remote node */
  owner(ip: string, observer: string): Owner {
    const pod = this.pods.get(ip);
    if (pod !== undefined) return pod;
    const node = this.nodes.get(ip);
    if (node === undefined) return WORLD;
    const identity = node === observer ? ReservedIdentity.HOST : ReservedIdentity.REMOTE_NODE;
    return { endpoint: reservedEndpoint(identity), node };
  }

  /** Neither a pod's address nor a node's. */
  isOutside(ip: string): boolean {
    return !this.pods.has(ip) && !this.nodes.has(ip);
  }

  /** The address of a node; undefined if it is not known. */
  addressOfNode(name: string): string | undefined {
    for (const [address, node] of this.nodes) if (node === name) return address;
    return undefined;
  }

  /** What policies see of the pod with this address; undefined: no pod has it. */
  readonly policyPod = (ip: string): PolicyPod | undefined => {
    const pod = this.pods.get(ip)?.pod;
    return pod && policyPod(pod, ip);
  };

  /** The Service of an address and port; NodePorts are found at any address. @param protocol such as TCP */
  service(ip: string, port: number, protocol: string): NamespacedName | undefined {
    return this.services.get(`${ip}:${port}/${protocol}`) ?? this.services.get(`:${port}/${protocol}`);
  }
}

function keysOf({ spec, status }: Service): string[] {
  const ingress = status?.loadBalancer?.ingress ?? [];
  const addresses = [spec.clusterIP, ...(spec.externalIPs ?? []), ...ingress.map(({ ip }) => ip)];
  return (spec.ports ?? []).flatMap(({ port, protocol = 'TCP', nodePort }) => [
    ...addresses.filter((ip) => ip !== undefined && ip !== 'None').map((ip) => `${ip}:${port}/${protocol}`),
    ...(nodePort === undefined ? [] : [`:${nodePort}/${protocol}`]),
  ]);
}

function podEndpoint({ metadata }: Pod): FlowEndpoint {
  const namespace = metadata.namespace ?? 'default';
  const labels = Object.entries(metadata.labels ?? {}).map(([name, value]) => `k8s:${name}=${value}`);
  labels.push(`k8s:io.kubernetes.pod.namespace=${namespace}`);
  labels.sort();
  const owner = metadata.ownerReferences?.find(({ controller }) => controller);
  return {
    identity: identityOf(labels),
    namespace,
    labels,
    pod_name: metadata.name,
    ...(owner && { workloads: [workloadOf(owner.kind, owner.name)] }),
  };
}

/** A ReplicaSet of a Deployment is named after it, with the hash of its template at the end. */
function workloadOf(kind: string, name: string): { name: string; kind: string } {
  const deployment = kind === 'ReplicaSet' ? /^(.+)-[a-z0-9]{5,10}$/.exec(name)?.[1] : undefined;
  return deployment === undefined ? { name, kind } : { name: deployment, kind: 'Deployment' };
}

/**
 * Pods with equal labels have the same identity, as in Cilium; ours is a hash of them (FNV-1a), the same on every node
 * without a common table.
 */
function identityOf(labels: readonly string[]): number {
  let hash = 0x811c9dc5;
  for (const code of Buffer.from(labels.join('\n'))) hash = Math.imul(hash ^ code, 0x01000193);
  return FIRST_IDENTITY + ((hash >>> 0) % IDENTITIES);
}
