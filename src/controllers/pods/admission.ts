/**
 * Admission of pods: a new pod gets its service account, its priority and the defaults of its namespace, and must stay
 * within the limits of that; IPAM allocates the address, and a status can only confirm it.
 */
import { invalid } from '../../api/errors.ts';
import { qosClass } from '../../api/pod-resources.ts';
import { resourceOfKind } from '../../api/resources.ts';
import type { Admission } from '../../api/store/registry.ts';
import type { Store } from '../../api/store/store.ts';
import { type Pod, WellKnown, type WrittenPart } from '../../api/types/objects.ts';
import { withServiceAccount } from '../access/pod-account.ts';
import { checkPodLimits, withLimitDefaults } from '../limits/limit-ranges.ts';
import { podIpOf } from './addresses.ts';
import { withFormerPriority, withPriority } from './priority.ts';
import { withDefaultTolerations } from './tolerations.ts';

/** `accounts`: pods run as a service account, whose token they mount. */
export function podAdmissionOf(store: Store, accounts: boolean): Admission<Pod> {
  return {
    prepare(pod, old) {
      if (old !== undefined) return addressing.prepare(withFormerPriority(pod, old), old);
      const known = accounts ? withServiceAccount(store, pod) : pod;
      const tolerant = withDefaultTolerations(withPriority(store, known));
      return addressing.prepare(withLimitDefaults(store, tolerant), old);
    },
    admit(pod, old, subresource) {
      if (old === undefined) checkPodLimits(store, pod);
      return addressing.admit(pod, old, subresource);
    },
  };
}

const addressing = {
  prepare(pod: Pod, old: Pod | undefined): Pod {
    const { [WellKnown.POD_IP]: _asked, ...annotations } = pod.metadata.annotations ?? {};
    const given = old === undefined ? undefined : podIpOf(old);
    if (given !== undefined) annotations[WellKnown.POD_IP] = given;
    const metadata = { ...pod.metadata, annotations };
    if (Object.keys(annotations).length === 0) delete (metadata as { annotations?: unknown }).annotations;
    if (old !== undefined) return { ...pod, metadata };
    return { ...pod, metadata, status: { phase: 'Pending', qosClass: qosClass(pod.spec) } };
  },

  admit(pod: Pod, old: Pod | undefined, subresource: WrittenPart | undefined): Pod {
    if (subresource !== 'status' || old === undefined || pod.spec.hostNetwork) return pod;
    const given = podIpOf(pod);
    const reported = pod.status?.podIP;
    if (!reported || reported === given) return pod;
    const message = `Invalid value: "${reported}": the address given to this pod is ${given ?? 'not chosen yet'}`;
    throw invalid(resourceOfKind('Pod')!, pod.metadata.name, [{ path: 'status.podIP', message }]);
  },
};
