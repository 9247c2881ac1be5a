/**
 * What a Job's podFailurePolicy makes of a failed pod: the first rule that matches decides
 * (pkg/controller/job/pod_failure_policy.go). Pure.
 */
import type { ContainerStatus, JobSpec, Pod, PodFailurePolicyRule } from '../../api/types/objects.ts';

export interface FailureVerdict {
  action: PodFailurePolicyRule['action'];
  message: string;
}

/** @returns undefined if no rule matches: the failure counts */
export function judgeFailure(pod: Pod, { podFailurePolicy }: JobSpec): FailureVerdict | undefined {
  for (const [i, rule] of (podFailurePolicy?.rules ?? []).entries()) {
    const why = whyExitCode(pod, rule) ?? whyCondition(pod, rule);
    if (why !== undefined) return { action: rule.action, message: `${why} matching ${rule.action} rule at index ${i}` };
  }
  return undefined;
}

function whyExitCode({ metadata, status }: Pod, { onExitCodes }: PodFailurePolicyRule): string | undefined {
  if (onExitCodes === undefined) return undefined;
  const { containerName, operator, values } = onExitCodes;
  const codeOf = ({ state }: ContainerStatus): number => state?.terminated?.exitCode ?? 0;
  const found = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])].find(
    (container) =>
      (containerName === undefined || container.name === containerName) &&
      codeOf(container) !== 0 &&
      values.includes(codeOf(container)) === (operator === 'In'),
  );
  if (found === undefined) return undefined;
  const pod = `${metadata.namespace}/${metadata.name}`;
  return `Container ${found.name} for pod ${pod} failed with exit code ${codeOf(found)}`;
}

function whyCondition({ metadata, status }: Pod, { onPodConditions = [] }: PodFailurePolicyRule): string | undefined {
  const found = status?.conditions?.find((condition) =>
    onPodConditions.some(({ type, status: wanted = 'True' }) => condition.type === type && condition.status === wanted),
  );
  return found && `Pod ${metadata.namespace}/${metadata.name} has condition ${found.type}`;
}
