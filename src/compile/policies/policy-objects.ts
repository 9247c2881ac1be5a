/** Objects of the API as the compiler of policies takes them. */
import { SERVICE_PROTOCOLS } from '../../../native-free-dataplane/protocols.ts';
import { templateContainersOf } from '../../api/containers.ts';
import { isEnded } from '../../api/pod-phase.ts';
import { type NodeObject, type Pod, WellKnown } from '../../api/types/objects.ts';
import { parseIp } from '../../net/address.ts';
import type { AddressedPod } from './kept-pods.ts';
import type { PolicyNode } from './name-selections.ts';

/** A pod's object never changes: another version is another object. */
const known = new WeakMap<Pod, AddressedPod>();

/** @param ip of a pod that has its address here before the API knows it */
export function policyPod(pod: Pod, ip: string): AddressedPod {
  let found = known.get(pod);
  if (found === undefined || found.ip !== ip) {
    const containers = templateContainersOf(pod.spec);
    found = {
      ip,
      namespace: pod.metadata.namespace ?? 'default',
      labels: pod.metadata.labels ?? {},
      ports: containers.flatMap(({ ports = [] }) =>
        ports.flatMap(({ name, protocol = 'TCP', containerPort }) =>
          name === undefined ? [] : [{ name, protocol: SERVICE_PROTOCOLS[protocol] ?? 0, port: containerPort }],
        ),
      ),
    };
    known.set(pod, found);
  }
  return found;
}

const addressed = new WeakMap<Pod, AddressedPod | 'none'>();

/** The pod with the address by which policies know it; undefined if it has none of its own. */
export function addressedPod(pod: Pod): AddressedPod | undefined {
  let found = addressed.get(pod);
  if (found === undefined) {
    const ip = policyAddressOf(pod);
    found = ip === undefined ? 'none' : policyPod(pod, ip);
    addressed.set(pod, found);
  }
  return found === 'none' ? undefined : found;
}

/**
 * The address by which policies know a pod: known as soon as the pod is scheduled. None for pods on the host's network,
 * which have the same address as their node, and for pods that have ended, whose address another pod may have.
 */
export function policyAddressOf(pod: Pod): string | undefined {
  if (pod.spec.hostNetwork || isEnded(pod)) return undefined;
  const ip = pod.metadata.annotations?.[WellKnown.POD_IP] ?? pod.status?.podIP;
  return ip && parseIp(ip) ? ip : undefined;
}

/**
 * What policies need of a pod's object, under the same names: with the pods of a whole cluster, all of it would take
 * several times as much memory, and garbage collection as long.
 */
export function policyPartOf({ apiVersion, kind, metadata, spec, status }: Pod): Pod {
  const { name, namespace, uid, resourceVersion, labels, annotations } = metadata;
  const address = annotations?.[WellKnown.POD_IP];
  const containers = templateContainersOf(spec)
    .filter(({ ports }) => ports?.some(({ name }) => name !== undefined))
    .map(({ ports }) => ({ ports }));
  return {
    ...{ apiVersion, kind },
    metadata: {
      ...{ name, namespace, uid, resourceVersion, labels },
      ...(address !== undefined && { annotations: { [WellKnown.POD_IP]: address } }),
    },
    spec: { containers, ...(spec.hostNetwork && { hostNetwork: true }) },
    status: { phase: status?.phase, ...(status?.podIP && { podIP: status.podIP }) },
  } as Pod;
}

/** @param node with whatever addresses its status lists; names among them match nothing */
export const policyNode = ({ metadata, status }: NodeObject): PolicyNode => ({
  labels: metadata.labels ?? {},
  addresses: (status?.addresses ?? []).map(({ address }) => address).filter((text) => parseIp(text) !== undefined),
});
