/** Gives the storage of an evicted pod back at once. Its directory stays until the pod is deleted. */
import { lstatSync, readdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import type { Pod } from '../../api/types/objects.ts';
import { emptyVolumes } from '../files/volumes.ts';

/** What is left of each file: the beginning of a log shows why the pod wrote so much. */
const LEFT_BYTES = 64 * 1024;
const VOLUMES = 'volumes';

/**
 * Empty the pod's volumes, and cut its other files: logs, the termination message, /etc/hosts. A container that still runs
 * may write more.
 */
export function freeStorage(pod: Pod, podDir: string): void {
  emptyVolumes(pod, podDir);
  cutFiles(podDir);
}

function cutFiles(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory() && entry.name !== VOLUMES) cutFiles(path);
    else if (entry.isFile() && lstatSync(path).size > LEFT_BYTES) truncateSync(path, LEFT_BYTES);
  }
}
