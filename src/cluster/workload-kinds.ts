/** Kinds whose objects make pods. */
import type { KubeObject, PodSpec } from '../api/types/objects.ts';

/** Those that have a template of pods; a CronJob has it inside the template of its Jobs. */
const TEMPLATED = ['Deployment', 'ReplicaSet', 'ReplicationController', 'StatefulSet', 'DaemonSet', 'Job', 'CronJob'];

export const makesPods = (kind: string): boolean => kind === 'Pod' || TEMPLATED.includes(kind);

interface Template {
  template?: { spec?: PodSpec };
}

/** The pods of an object: its own specification, or that of its template. */
export function podSpecOf({ kind, spec }: Pick<KubeObject, 'kind'> & { spec?: unknown }): PodSpec | undefined {
  if (kind === 'Pod') return spec as PodSpec;
  const { template, jobTemplate } = (spec ?? {}) as Template & { jobTemplate?: { spec?: Template } };
  return kind === 'CronJob' ? jobTemplate?.spec?.template?.spec : template?.spec;
}

/** The labels by which an object of one of these kinds selects its pods. */
export function podLabelsOf(workload: KubeObject): Record<string, string> {
  const { spec } = workload as KubeObject & { spec?: { selector?: Record<string, unknown> } };
  const { selector = {} } = spec ?? {};
  const { matchLabels } = selector as { matchLabels?: Record<string, string> };
  // A ReplicationController's selector is the labels themselves.
  return matchLabels ?? (selector.matchExpressions === undefined ? (selector as Record<string, string>) : {});
}
