/**
 * What `resources` of a container and of its pod mean for their control groups (kubelet, pkg/kubelet/cm,
 * ResourceConfigForPod and generateLinuxContainerResources). The API has filled in requests from limits. Pure.
 */
import { templateContainersOf } from '../../api/containers.ts';
import { podResources, qosClass } from '../../api/pod-resources.ts';
import { Quantity } from '../../api/quantity.ts';
import type { Container, Pod } from '../../api/types/objects.ts';
import { type CgroupLimits, sharesOf } from '../../linux/cgroup/cgroups.ts';

/** Of a whole pod: a fork bomb affects no other pod. kubelet: podPidsLimit, which has no default. */
const POD_PROCESSES = 4096;

type Which = 'limits' | 'requests';

/** A limit of zero is none, as in kubelet. */
const amount = ({ resources }: Container, which: Which, name: string): Quantity | undefined =>
  Quantity.positive(resources?.[which]?.[name]);

/** Does the manifest ask for anything that needs a control group? */
export const hasResources = ({ spec }: Pod): boolean =>
  templateContainersOf(spec).some(({ resources }) =>
    ['cpu', 'memory'].some((name) => resources?.limits?.[name] ?? resources?.requests?.[name]),
  );

export function containerLimits(container: Container): CgroupLimits {
  const cpu = amount(container, 'limits', 'cpu');
  return {
    memoryBytes: amount(container, 'limits', 'memory')?.value,
    cpuMillis: cpu?.millis,
    cpuShares: sharesOf(amount(container, 'requests', 'cpu')?.millis ?? 0),
    endsAsOne: true,
  };
}

/** A pod is limited where each of its containers is. */
export function podLimits({ spec }: Pod): CgroupLimits {
  const all = templateContainersOf(spec);
  const limits = podResources(spec, 'limits');
  const of = (name: string) => {
    const whole = limits[name];
    return whole?.exceeds(Quantity.ZERO) && all.every((each) => amount(each, 'limits', name)) ? whole : undefined;
  };
  return {
    memoryBytes: of('memory')?.value,
    cpuMillis: of('cpu')?.millis,
    cpuShares: sharesOf(podResources(spec, 'requests').cpu?.millis ?? 0),
    processes: POD_PROCESSES,
  };
}

/**
 * oom_score_adj: which process the kernel kills first when the whole machine has no memory left (kubelet,
 * pkg/kubelet/qos/policy.go, GetContainerOOMScoreAdjust). The agent and its workers come last.
 */
export function oomScore({ spec }: Pod, container: Container, machineBytes: number): number {
  const qos = qosClass(spec);
  if (qos === 'Guaranteed') return -997;
  if (qos === 'BestEffort') return 1000;
  const requested = amount(container, 'requests', 'memory');
  const score = Math.trunc(1000 - (1000 * (requested?.value ?? 0)) / machineBytes);
  return Math.min(Math.max(score, 3), 999);
}
