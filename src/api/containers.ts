/** The containers of a pod, of all three kinds. */
import type { Container, EphemeralContainer, PodSpec } from './types/objects.ts';

export function containersOf(spec: PodSpec): (Container & EphemeralContainer)[] {
  return [...spec.containers, ...(spec.initContainers ?? []), ...(spec.ephemeralContainers ?? [])];
}

/** undefined: there is none of this name. */
export function containerNamed(spec: PodSpec, name: string): EphemeralContainer | undefined {
  return containersOf(spec).find((container) => container.name === name);
}
