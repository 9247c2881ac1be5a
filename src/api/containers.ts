/** The containers of a pod. */
import type { Container, EphemeralContainer, PodSpec } from './types/objects.ts';

/** Those that a pod is created with; ephemeral containers are added later. */
export function templateContainersOf({ containers, initContainers = [] }: PodSpec): Container[] {
  return [...containers, ...initContainers];
}

/** Those of all kinds. */
export function containersOf(spec: PodSpec): (Container & EphemeralContainer)[] {
  return [...templateContainersOf(spec), ...(spec.ephemeralContainers ?? [])];
}

/** undefined: there is none of this name. */
export function containerNamed(spec: PodSpec, name: string): EphemeralContainer | undefined {
  return containersOf(spec).find((container) => container.name === name);
}

/**
 * Does it keep running beside the containers (enhancements/keps 753)?
 * @param container one of the init containers
 */
export const isSidecar = ({ restartPolicy }: Container): boolean => restartPolicy === 'Always';

/** In the order in which they start. */
export const sidecarsOf = ({ initContainers = [] }: PodSpec): Container[] => initContainers.filter(isSidecar);
