/**
 * Makes the thread that waits for the next failure of a worker ready: it attaches to the tables once. A thread that does so for
 * the first time takes several times as long, most of it to compile the code.
 */
import { MessageChannel } from 'node:worker_threads';
import type { Piscina } from 'piscina';
import type { WorkerTask } from '../worker/messages.ts';

/** After the workers have begun. */
const DELAY_MS = 500;

export class Rehearsal {
  private readonly pool: Piscina;
  private readonly task: Pick<WorkerTask, 'tables' | 'features' | 'wakeFd'>;
  private timer: NodeJS.Timeout | undefined;

  constructor(pool: Piscina, task: Pick<WorkerTask, 'tables' | 'features' | 'wakeFd'>) {
    this.pool = pool;
    this.task = task;
  }

  /** There is a new thread. */
  soon(): void {
    this.stop();
    this.timer = setTimeout(() => {
      const { port1, port2: messages } = new MessageChannel();
      port1.close();
      const { tables, features, wakeFd } = this.task;
      const common = { worker: 0, run: 0, seed: 1, ports: [], changesDone: 0 };
      const task: WorkerTask = { ...common, tables, features, wakeFd, messages, isRehearsal: true };
      // What fails here fails again when the thread becomes a worker, and is reported then.
      this.pool.run(task, { transferList: [messages] }).catch(() => {});
    }, DELAY_MS).unref();
  }

  stop(): void {
    clearTimeout(this.timer);
  }
}
