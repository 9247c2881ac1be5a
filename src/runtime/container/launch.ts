/** Waits for a process to start: it writes one line to a pipe once it is set up. */
import type { ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';

const MAX_COMPLAINT_CHARACTERS = 2_000;

/**
 * Resolves when the child has written to the pipe.
 * @throws Error with its stderr (if that is a pipe) if it ended first, or wrote nothing in time
 */
export function firstLine(
  child: ChildProcess,
  timeoutMs: number,
  pipe: Readable = child.stdio[3] as Readable,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let complaint = '';
    const done = (error?: Error) => {
      clearTimeout(timer);
      child.off('close', onClose);
      child.off('exit', onExit);
      pipe.destroy();
      if (error === undefined) resolve();
      else reject(error);
    };
    const onClose = () => done(new Error(complaint.trim().split('\n').slice(-3).join('; ') || 'it ended at once'));
    // Without a stderr nothing more can be learned; 'close' may never come if other processes hold the pipe.
    const onExit = () => setTimeout(onClose, child.stderr === null ? 0 : 50);
    const timer = setTimeout(() => done(new Error(`not started within ${timeoutMs} ms`)), timeoutMs);
    child.stderr?.on('data', (chunk: Buffer) => {
      if (complaint.length < MAX_COMPLAINT_CHARACTERS) complaint += chunk.toString();
    });
    child.once('error', done);
    child.once('close', onClose);
    child.once('exit', onExit);
    pipe.once('data', () => done());
    pipe.once('error', () => {});
  });
}
