/** Where the resolv.conf of a running pod is. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { containersOf } from '../../api/containers.ts';
import { containerDirectory, readState } from '../state.ts';
import { podDirectory } from './logs.ts';

/** In a container's directory, for those who look from outside. */
export const RESOLV_CONF_FILE = 'resolv.conf';

/** A copy of what the pod's containers have as /etc/resolv.conf; undefined before any of them has been started. */
export function resolvConfPath(stateDir: string, namespace: string, pod: string): string | undefined {
  const podDir = podDirectory(stateDir, namespace, pod);
  const spec = readState(podDir)?.pod.spec;
  return (spec === undefined ? [] : containersOf(spec))
    .map(({ name }) => join(containerDirectory(podDir, name), RESOLV_CONF_FILE))
    .find((path) => existsSync(path));
}
