/** What the agent gives a worker at start, and sends it later. */
import type { MessagePort } from 'node:worker_threads';
import type { Features } from '../../native-free-dataplane/dataplane.ts';
import type { NodeMemoryNames } from '../shm-names.ts';

export interface PortOfWorker {
  readonly index: number;
  /** This worker's queue of the device. */
  readonly fd: number;
  readonly headerBytes: number;
}

export type PortChange =
  | ({ readonly kind: 'add' } & PortOfWorker)
  | { readonly kind: 'remove'; readonly index: number };

/** A change as it is sent; the worker reports in ControlWord.CHANGES_DONE how far it got. */
export interface NumberedChange {
  readonly number: number;
  readonly change: PortChange;
}

/** A worker's way to the raw socket of the main thread (src/devices/ring-port.ts). */
export interface TunnelOfWorker {
  /** Names of the rings under /dev/shm. */
  readonly outward: string;
  readonly inward: string;
  /** eventfd that is written when the inward ring has something new. */
  readonly wakeFd: number;
}

/** What a worker posts when its outward ring was empty and is so no more. */
export const TUNNEL_MESSAGE = 'tunnel';

export interface WorkerTask {
  readonly worker: number;
  readonly seed: number;
  /** Names under /dev/shm. */
  readonly tables: NodeMemoryNames;
  readonly features: Features;
  readonly ports: readonly PortOfWorker[];
  readonly tunnel?: TunnelOfWorker;
  /** Number of the last change that `ports` already contains. */
  readonly changesDone: number;
  /** eventfd that is written after a message was posted or the stop word set. */
  readonly wakeFd: number;
  readonly messages: MessagePort;
}
