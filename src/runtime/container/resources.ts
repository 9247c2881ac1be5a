/**
 * What `resources` of a container and of its pod mean for their control groups (kubelet, pkg/kubelet/cm,
 * ResourceConfigForPod and generateLinuxContainerResources). The API has filled in requests from limits. Pure.
 */
import { podResources, qosClass } from '../../api/pod-resources.ts';
import { Quantity } from '../../api/quantity.ts';
import type { Container, Pod } from '../../api/types/objects.ts';
import { type CgroupLimits, sharesOf } from '../../linux/cgroup/cgroups.ts';

/** Of a whole pod: a fork bomb is that pod's trouble alone. kubelet: podPidsLimit, which has no default. */
const POD_PROCESSES = 4096;

type Which = 'limits' | 'requests';

const amount = ({ resources }: Container, which: Which, name: string): Quantity | undefined =>
  Quantity.parse(resources?.[which]?.[name]);

/** A limit of zero is none, as in kubelet. */
const limited = (quantity: Quantity | undefined): Quantity | undefined =>
  quantity === undefined || quantity.nanos <= 0n ? undefined : quantity;

/** Does the manifest ask for anything that needs a control group? */
export const hasResources = ({ spec }: Pod): boolean =>
  [...spec.containers, ...(spec.initContainers ?? [])].some(({ resources }) =>
    ['cpu', 'memory'].some((name) => resources?.limits?.[name] ?? resources?.requests?.[name]),
  );

export function containerLimits(container: Container): CgroupLimits {
  const cpu = limited(amount(container, 'limits', 'cpu'));
  return {
    memoryBytes: limited(amount(container, 'limits', 'memory'))?.value,
    cpuMillis: cpu?.millis,
    cpuShares: sharesOf(amount(container, 'requests', 'cpu')?.millis ?? 0),
    endsAsOne: true,
  };
}

/** A pod is limited where each of its containers is. */
export function podLimits({ spec }: Pod): CgroupLimits {
  const all = [...spec.containers, ...(spec.initContainers ?? [])];
  const limits = podResources(spec, 'limits');
  const of = (name: string) =>
    all.every((each) => limited(amount(each, 'limits', name))) ? limited(limits[name]) : undefined;
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
