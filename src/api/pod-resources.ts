/**
 * Requests and limits of a whole pod (component-helpers/resource): the sum of its containers, or the largest init
 * container with the sidecars started before it, whichever is larger, plus the pod's overhead.
 */
import { isSidecar, templateContainersOf } from './containers.ts';
import { type Amounts, amountsOf, largestOf, Quantity, sumOf } from './quantity.ts';
import type { Container, PodSpec } from './types/objects.ts';

type Which = 'requests' | 'limits';

export const resourcesOf = (container: Container, which: Which): Amounts => amountsOf(container.resources?.[which]);

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
  const added = amountsOf(spec.overhead);
  if (which === 'requests') return sumOf(most, added);
  // A limit that no container sets stays unset.
  return sumOf(most, Object.fromEntries(Object.entries(added).filter(([name]) => name in most)));
}

/** apis/core/v1/helper/qos: by requests and limits of cpu and memory; an amount of zero is none. */
export function qosClass(spec: PodSpec): 'BestEffort' | 'Burstable' | 'Guaranteed' {
  const containers = templateContainersOf(spec);
  const of = ({ resources }: Container, kind: Which, name: string) => Quantity.positive(resources?.[kind]?.[name]);
  const names = ['cpu', 'memory'];
  if (!containers.some((c) => names.some((name) => of(c, 'limits', name) ?? of(c, 'requests', name)))) {
    return 'BestEffort';
  }
  const guaranteed = containers.every((c) =>
    names.every((name) => {
      const limit = of(c, 'limits', name);
      return limit !== undefined && (of(c, 'requests', name) ?? limit).nanos === limit.nanos;
    }),
  );
  return guaranteed ? 'Guaranteed' : 'Burstable';
}
