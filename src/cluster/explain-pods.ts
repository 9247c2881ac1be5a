/** Why the pods of a workload are not Ready: each pod's reason, its last warning, and its last lines of output. */
import type { ApiClient } from '../api/client/client.ts';
import type { EventObject, KubeObject, Pod } from '../api/types/objects.ts';
import { lastLine, lastLines } from './last-lines.ts';
import { whyNotReady } from './readiness.ts';
import { podLabelsOf } from './workload-kinds.ts';

/**
 * Limits on the pods per workload and the lines per pod: replicas of one template usually fail for the same reason.
 */
const MAX_PODS = 3;
const LOG_LINES = 5;

/** Lines of text, indented below the workload's own; empty if it has no pods, or all are Ready. */
export async function explainPods(client: ApiClient, workload: KubeObject): Promise<string[]> {
  const { namespace = 'default' } = workload.metadata;
  const labels = Object.entries(podLabelsOf(workload)).map((pair) => pair.join('='));
  if (labels.length === 0) return [];
  const { items } = await client.list('Pod', { namespace, labelSelector: labels.join(',') });
  const failing = items.flatMap((pod) => {
    const why = whyNotReady(pod, lastLine);
    return why === undefined ? [] : [{ pod, why }];
  });
  const lines: string[] = [];
  for (const { pod, why } of failing.slice(0, MAX_PODS)) {
    lines.push(`  Pod ${pod.metadata.name} (${why})`);
    const warning = await lastWarning(client, pod);
    if (warning !== undefined) lines.push(`    ${warning}`);
    lines.push(...lastLogLines(pod).map((line) => `    ${line}`));
  }
  if (failing.length > MAX_PODS) lines.push(`  and ${failing.length - MAX_PODS} more pods`);
  return lines;
}

/** The newest Warning event of a pod, such as a failed probe. */
async function lastWarning(client: ApiClient, pod: Pod): Promise<string | undefined> {
  const { name, namespace = 'default' } = pod.metadata;
  const { items } = await client.list('Event', { namespace, fieldSelector: `involvedObject.name=${name}` });
  const warnings = (items as EventObject[]).filter(({ type }) => type === 'Warning');
  warnings.sort((a, b) => Date.parse(a.lastTimestamp ?? '') - Date.parse(b.lastTimestamp ?? ''));
  const last = warnings.at(-1);
  return last && `${last.reason}: ${(last.message ?? '').split('\n')[0]}`;
}

/** The last lines of the first container that is not ready and has written something. */
function lastLogLines(pod: Pod): string[] {
  const { initContainerStatuses = [], containerStatuses = [] } = pod.status ?? {};
  for (const { name, ready } of [...initContainerStatuses, ...containerStatuses]) {
    const lines = ready ? [] : lastLines(pod, name, LOG_LINES);
    if (lines.length > 0) return lines.map((line) => `${name} | ${line}`);
  }
  return [];
}
