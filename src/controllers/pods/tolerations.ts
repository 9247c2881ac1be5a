/** Taints and tolerations (component-helpers/scheduling/corev1). */
import type { Pod, Taint, Toleration } from '../../api/types/objects.ts';

/** The taint of cordoned nodes. */
export const CORDONED: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

/** The first taint with one of these effects that no toleration matches. */
export function untolerated(
  taints: readonly Taint[] | undefined,
  tolerations: readonly Toleration[] | undefined,
  effects: readonly Taint['effect'][],
): Taint | undefined {
  return taints?.find(
    (taint) => effects.includes(taint.effect) && !tolerations?.some((each) => tolerates(each, taint)),
  );
}

function tolerates({ key, operator = 'Equal', value = '', effect }: Toleration, taint: Taint): boolean {
  if (effect && effect !== taint.effect) return false;
  if (key && key !== taint.key) return false;
  // Without a key, Exists tolerates everything.
  if (operator === 'Exists') return true;
  return key !== undefined && value === (taint.value ?? '');
}

/**
 * How long a pod may stay on a node with these NoExecute taints, in milliseconds: undefined: for ever; 0: it must leave
 * at once.
 */
export function staysFor(
  taints: readonly Taint[] | undefined,
  tolerations: readonly Toleration[] | undefined,
): number | undefined {
  let shortest: number | undefined;
  for (const taint of taints ?? []) {
    if (taint.effect !== 'NoExecute') continue;
    const matching = (tolerations ?? []).filter((each) => tolerates(each, taint));
    if (matching.length === 0) return 0;
    for (const { tolerationSeconds } of matching) {
      if (tolerationSeconds === undefined) continue;
      const ms = Math.max(0, tolerationSeconds) * 1000;
      if (shortest === undefined || ms < shortest) shortest = ms;
    }
  }
  return shortest;
}

/** How long a pod stays on a node that has become unreachable, unless it tolerates that itself. */
const DEFAULT_SECONDS = 300;
const DEFAULT_TAINTS = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'];

/** A new pod with what every pod tolerates for a while (plugin/pkg/admission/defaulttolerationseconds). */
export function withDefaultTolerations(pod: Pod): Pod {
  const own = pod.spec.tolerations ?? [];
  const knows = (taint: string) =>
    own.some(({ key = '', effect = '' }) => (key === taint || key === '') && (effect === 'NoExecute' || effect === ''));
  const missing = DEFAULT_TAINTS.filter((taint) => !knows(taint)).map(
    (key): Toleration => ({
      key,
      operator: 'Exists',
      effect: 'NoExecute',
      tolerationSeconds: DEFAULT_SECONDS,
    }),
  );
  return missing.length === 0 ? pod : { ...pod, spec: { ...pod.spec, tolerations: [...own, ...missing] } };
}
