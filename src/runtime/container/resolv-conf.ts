/** Where the resolv.conf of a running pod is. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { containersOf } from '../../api/containers.ts';
import { containerDirectory, readState } from '../state.ts';
import { podDirectory } from './logs.ts';

/** Path of the file that the pod's containers have as /etc/resolv.conf; undefined before any of them has been started. */
export function resolvConfPath(stateDir: string, namespace: string, pod: string): string | undefined {
  const podDir = podDirectory(stateDir, namespace, pod);
  const spec = readState(podDir)?.pod.spec;
  return (spec === undefined ? [] : containersOf(spec))
    .map(({ name }) => join(containerDirectory(podDir, name), 'files/etc/resolv.conf'))
    .find((path) => existsSync(path));
}
