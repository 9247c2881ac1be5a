/** Taints and tolerations (component-helpers/scheduling/corev1). */
import type { Taint, Toleration } from '../../api/types/objects.ts';

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
