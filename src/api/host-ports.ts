/** The host ports of a pod, and whether those of two pods conflict. */
import { isEnded } from './pod-phase.ts';
import type { Pod, PodSpec } from './types/objects.ts';

export interface HostPort {
  readonly protocol: string;
  /** Address of the node; ALL_ADDRESSES without a hostIP. */
  readonly ip: string;
  readonly port: number;
  /** The container's port. */
  readonly target: number;
}

/** Means every address of the node, as in Kubernetes (pkg/scheduler/framework DefaultBindAllHostIP). */
export const ALL_ADDRESSES = '0.0.0.0';

/** Why a node is not suitable for a pod (kubernetes pkg/scheduler/framework/plugins/nodeports ErrReason). */
export const HOST_PORTS_TAKEN = "didn't have free ports for the requested pod ports";

export function hostPortsOf({ containers }: PodSpec): HostPort[] {
  return containers.flatMap(({ ports = [] }) =>
    ports.flatMap(({ hostPort, hostIP, protocol = 'TCP', containerPort }) =>
      hostPort ? [{ protocol, ip: hostIP || ALL_ADDRESSES, port: hostPort, target: containerPort }] : [],
    ),
  );
}

/** Do two pods request the same port of a node? */
export function hostPortsClash(one: readonly HostPort[], other: readonly HostPort[]): boolean {
  return one.some((a) => other.some((b) => clash(a, b)));
}

const clash = (a: HostPort, b: HostPort): boolean =>
  a.protocol === b.protocol && a.port === b.port && (a.ip === b.ip || a.ip === ALL_ADDRESSES || b.ip === ALL_ADDRESSES);

/** A pod holds its host ports until its phase is final, also while it terminates. */
export const holdsHostPorts = (pod: Pod): boolean => !isEnded(pod);
