/**
 * A container's termination message: the file that its manifest names (terminationMessagePath), bind-mounted from the
 * host, or with FallbackToLogsOnError the end of its log, if it failed and the file is empty (kubelet,
 * pkg/kubelet/kuberuntime/kuberuntime_container.go, getTerminationMessage).
 */
import { chmodSync, closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Container } from '../../api/types/objects.ts';
import type { BindMount } from './launch-script.ts';
import { logTail } from './logs.ts';

const FILE = 'termination-log';
/** MaxContainerTerminationMessageLength. */
const MAX_BYTES = 4096;
const DEFAULT_PATH = '/dev/termination-log';

/** Create an empty file for the next instance. @returns its bind mount */
export function prepareTerminationMessage(directory: string, container: Container): BindMount {
  const source = join(directory, FILE);
  writeFileSync(source, '');
  chmodSync(source, 0o666); // The container may run as any user.
  return { source, target: container.terminationMessagePath || DEFAULT_PATH, readOnly: false, file: true };
}

/** @param podDir directory with the logs */
export function terminationMessage(
  directory: string,
  podDir: string,
  container: Container,
  exitCode: number,
): string | undefined {
  const written = head(join(directory, FILE));
  if (written !== '') return written;
  const fallback = container.terminationMessagePolicy === 'FallbackToLogsOnError' && exitCode !== 0;
  return (fallback && logTail(podDir, container.name)) || undefined;
}

function head(path: string): string {
  try {
    const file = openSync(path, 'r');
    try {
      const bytes = Buffer.alloc(MAX_BYTES);
      return bytes.toString('utf8', 0, readSync(file, bytes, 0, MAX_BYTES, 0));
    } finally {
      closeSync(file);
    }
  } catch {
    return '';
  }
}
