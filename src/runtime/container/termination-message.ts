/**
 * What a container leaves behind about its end: the file that its manifest names (terminationMessagePath), which is bound
 * in from the host, or with FallbackToLogsOnError the end of its log when it failed and the file is empty (kubelet,
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

/** An empty file for the next instance. @returns where the container sees it */
export function prepareTerminationMessage(directory: string, container: Container): BindMount {
  const source = join(directory, FILE);
  writeFileSync(source, '');
  chmodSync(source, 0o666); // Whichever user it runs as.
  return { source, target: container.terminationMessagePath || DEFAULT_PATH, readOnly: false, file: true };
}

/** @param podDir where the logs are */
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
