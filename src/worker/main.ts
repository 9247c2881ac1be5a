/** Entry point of a worker thread: Piscina calls it once, and it returns when the worker is stopped. */
import { receiveMessageOnPort } from 'node:worker_threads';
import { Forwarder } from './forwarder.ts';
import { FAILED_MESSAGE, type NumberedChange, type WorkerTask } from './messages.ts';
import { warmUp } from './warm-up.ts';

/** Forward until stopped. A thrown error ends this task; the agent restarts it over the same tables. */
export default function forward(task: WorkerTask): void {
  try {
    forwardUntilStopped(task);
  } catch (error) {
    task.messages.postMessage(FAILED_MESSAGE);
    throw error;
  }
}

function forwardUntilStopped(task: WorkerTask): void {
  if (task.warmsUp) warmUp();
  const forwarder = new Forwarder(task);
  try {
    if (task.isRehearsal) return;
    forwarder.run(() => receiveMessageOnPort(task.messages)?.message as NumberedChange | undefined);
  } finally {
    forwarder.close();
  }
}
