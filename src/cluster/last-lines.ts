/** The last lines of a container's log on this machine. */
import type { Pod } from '../api/types/objects.ts';
import { logTail, podDirectory } from '../runtime/container/logs.ts';
import type { LastLine } from './readiness.ts';
import { STATE_DIR } from './state.ts';

/** The last lines of the current instance, or of the previous one if the current one has written nothing yet. */
export function lastLines(
  { metadata: { namespace = 'default', name } }: Pod,
  container: string,
  count: number,
): string[] {
  const directory = podDirectory(STATE_DIR, namespace, name);
  const tail = logTail(directory, container).trim() || logTail(directory, `${container}.previous`).trim();
  return tail.split('\n').filter(Boolean).slice(-count);
}

export const lastLine: LastLine = (pod, container) => lastLines(pod, container, 1)[0];
