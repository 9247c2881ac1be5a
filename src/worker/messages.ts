/** What the agent passes to a worker at start, and the changes it sends later. */
import type { MessagePort } from 'node:worker_threads';
import type { Features } from '../../native-free-dataplane/dataplane.ts';
import type { NodeMemoryNames } from '../shm-names.ts';

/** A port, with the queue of one worker. */
export interface PortOfWorker {
  readonly index: number;
  /** This worker's queue of the device. */
  readonly fd: number;
  readonly headerBytes: number;
  /** Number under which it is polled, if not its index: for further queues of a device. */
  readonly slot?: number;
}

export type PortChange =
  | ({ readonly kind: 'add' } & PortOfWorker)
  | { readonly kind: 'remove'; readonly index: number };

/** A numbered change; the worker stores the number of the last one applied in ControlWord.CHANGES_DONE. */
export interface NumberedChange {
  readonly number: number;
  readonly change: PortChange;
}

/** A worker's connection to the raw socket of the main thread (src/devices/ring-port.ts). */
export interface TunnelOfWorker {
  /** Names of the rings under /dev/shm. */
  readonly outward: string;
  readonly inward: string;
  /** eventfd that is written when packets have been added to the inward ring. */
  readonly wakeFd: number;
}

/** Posted by a worker when its empty outward ring has received a packet. */
export const TUNNEL_MESSAGE = 'tunnel';

/**
 * Posted by a worker that has thrown, before the error itself: the first stack trace of a thread reads the source map, which
 * takes 70 ms and more.
 */
export const FAILED_MESSAGE = 'failed';

/** What a worker is started with. */
export interface WorkerTask {
  readonly worker: number;
  /** Number of this task (ControlWord.RUN), above 0. */
  readonly run: number;
  readonly seed: number;
  /** Names under /dev/shm. */
  readonly tables: NodeMemoryNames;
  readonly features: Features;
  readonly ports: readonly PortOfWorker[];
  readonly tunnel?: TunnelOfWorker;
  /** Number of the last change already included in `ports`. */
  readonly changesDone: number;
  /** eventfd that is written after a message is posted or ControlWord.RUN is changed. */
  readonly wakeFd: number;
  readonly messages: MessagePort;
  /** Attach to the tables, and return: the first time takes much longer than those that follow. */
  readonly isRehearsal?: true;
  /** Run packets over tables of its own first (warm-up.ts): nobody waits for this worker, because the standby forwards. */
  readonly warmsUp?: boolean;
}
