/** The agents and workers of a cluster's nodes: their process ids, and failures on request. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { STATE_DIR } from '../../src/cluster/state.ts';
import { openShared } from '../../src/linux/shm.ts';
import { memoryName } from '../../src/shm-names.ts';
import { attachControl, ControlWord, controlAt, Failure, isLooping } from '../../src/worker/control.ts';
import { eventually } from './cluster.ts';

const pidIn = (node: string, file: string): number =>
  (JSON.parse(readFileSync(join(STATE_DIR, 'nodes', node, file), 'utf8')) as { pid: number }).pid;

export const agentPid = (node: string): number => pidIn(node, 'agent.json');

/** Waits until the node's current agent, which is not `before`, forwards: it writes dataplane.json then. */
export const successor = (node: string, before?: number): Promise<true> =>
  eventually(async () => {
    const pid = agentPid(node);
    return pid !== before && pid === pidIn(node, 'dataplane.json') ? true : undefined;
  }, 30_000);

/** The control words of a node's workers. */
export class WorkerControl {
  private readonly memory: ReturnType<typeof openShared>;
  private readonly words: Int32Array;

  constructor(node: string) {
    this.memory = openShared(memoryName(node, 'control'));
    this.words = attachControl(this.memory.buffer)!;
  }

  /** @param how a value of Failure */
  fail(worker: number, how: number): void {
    Atomics.store(this.words, controlAt(worker, ControlWord.FAIL), how);
  }

  /** Has the worker not yet read that it is to fail? */
  isToFail(worker: number): boolean {
    return this.word(worker, ControlWord.FAIL) !== Failure.NONE;
  }

  restarts(worker: number): number {
    return this.word(worker, ControlWord.RESTARTS);
  }

  isLooping(worker: number): boolean {
    return isLooping(this.word(worker, ControlWord.STATE));
  }

  /** Id of the thread that runs the worker, or ran it last. */
  thread(worker: number): number {
    return this.word(worker, ControlWord.THREAD);
  }

  close(): void {
    this.memory.close();
  }

  private word(worker: number, word: number): number {
    return Atomics.load(this.words, controlAt(worker, word));
  }
}
