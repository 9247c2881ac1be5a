/**
 * Why a pod may not run on a node, in kube-scheduler's texts: what no removal of pods could change, and what the pods on
 * the node leave no room for (preemption.ts may remove some of those).
 */
import { HOST_PORTS_TAKEN, holdsHostPorts, hostPortsClash, hostPortsOf } from '../../api/host-ports.ts';
import { isReady } from '../../api/ready.ts';
import { matchesLabels } from '../../api/selectors.ts';
import type { NodeObject, Pod } from '../../api/types/objects.ts';
import { parseCidr } from '../../net/address.ts';
import type { PodVolumes } from '../storage/pod-volumes.ts';
import { nodeAffinityFits } from './node-affinity.ts';
import { insufficient } from './node-resources.ts';
import { CORDONED, untolerated } from './tolerations.ts';

/** Undefined if nothing about the node itself, or the pod's volumes, excludes it. */
export function firstObstacle(volumes: PodVolumes, pod: Pod, node: NodeObject): string | undefined {
  if (!isReady(node)) return 'were not ready';
  if (node.spec?.unschedulable && untolerated([CORDONED], pod.spec.tolerations, ['NoSchedule'])) {
    return 'were unschedulable';
  }
  const taint = untolerated(node.spec?.taints, pod.spec.tolerations, ['NoSchedule', 'NoExecute']);
  if (taint !== undefined) return `had untolerated taint {${taint.key}: ${taint.value ?? ''}}`;
  if (!matchesLabels(pod.spec.nodeSelector ?? {}, node.metadata.labels) || !nodeAffinityFits(pod.spec, node)) {
    return "didn't match Pod's node affinity/selector";
  }
  return volumes.whyNotOn(node, pod);
}

/** The pods beside which another one is to be placed. They are listed only if that matters. */
export interface Neighbours {
  readonly count: number;
  pods(): readonly Pod[];
}

/**
 * The first of host ports and addresses that is taken, or else everything that the node has not enough of; empty if the
 * pod fits beside the others.
 */
export function crowding(pod: Pod, node: NodeObject, others: Neighbours): string[] {
  const wanted = hostPortsOf(pod.spec);
  const clash = (other: Pod) => holdsHostPorts(other) && hostPortsClash(hostPortsOf(other.spec), wanted);
  if (wanted.length > 0 && others.pods().some(clash)) return [`node(s) ${HOST_PORTS_TAKEN}`];
  if (!pod.spec.hostNetwork && !hasAddress(node, others)) return ['node(s) had no free pod address'];
  return insufficient(pod, node, () => others.pods()).map((name) => `Insufficient ${name}`);
}

/** All addresses but those of the network itself, the gateway and broadcasts are for pods. */
function hasAddress(node: NodeObject, others: Neighbours): boolean {
  const network = parseCidr(node.spec?.podCIDR ?? '');
  if (network === undefined) return false;
  const usable = network.last - network.first - 2n;
  return others.count < usable || others.pods().filter(({ spec }) => !spec.hostNetwork).length < usable;
}
