/** What a pod's phase means to others. */
import type { Pod } from './types/objects.ts';

/** Its phase is final: no container runs or will be started. */
export const isEnded = ({ status }: Pick<Pod, 'status'>): boolean =>
  status?.phase === 'Succeeded' || status?.phase === 'Failed';

/** Neither ended nor terminating. */
export const isActive = (pod: Pod): boolean => !isEnded(pod) && pod.metadata.deletionTimestamp === undefined;

/** It is being deleted, and has not ended yet. */
export const isTerminating = (pod: Pod): boolean => !isEnded(pod) && !isActive(pod);
