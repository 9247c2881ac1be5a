/**
 * Requests and limits of a whole pod (component-helpers/resource): the sum of its containers, or the largest init
 * container with the sidecars started before it, whichever is larger, plus the pod's overhead.
 */
import { type Amounts, amountsOf, largestOf, sumOf } from '../../api/quantity.ts';
import type { Container, PodSpec } from '../../api/types/objects.ts';

type Which = 'requests' | 'limits';

export const resourcesOf = (container: Container, which: Which): Amounts => amountsOf(container.resources?.[which]);

/** An init container that keeps running beside the others. */
const isSidecar = (container: Container): boolean =>
  (container as { restartPolicy?: string }).restartPolicy === 'Always';

export function podResources(spec: PodSpec, which: Which): Amounts {
  let running: Amounts = {};
  for (const container of spec.containers) running = sumOf(running, resourcesOf(container, which));
  let sidecars: Amounts = {};
  let starting: Amounts = {};
  for (const container of spec.initContainers ?? []) {
    const own = resourcesOf(container, which);
    if (isSidecar(container)) sidecars = sumOf(sidecars, own);
    starting = largestOf(starting, isSidecar(container) ? sidecars : sumOf(sidecars, own));
  }
  const most = largestOf(sumOf(running, sidecars), starting);
  const { overhead } = spec as { overhead?: Record<string, string> };
  const added = amountsOf(overhead);
  if (which === 'requests') return sumOf(most, added);
  // A limit that no container sets stays unset.
  return sumOf(most, Object.fromEntries(Object.entries(added).filter(([name]) => name in most)));
}
