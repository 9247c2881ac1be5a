/**
 * What an agent and its standby send each other. Each message has an `act`; descriptors of a device's queues come with it.
 *
 * The agent: `hello` first, answered by the standby's `state` and one `device` for each that it holds. `stop` ends its
 * forwarding, answered by `stopped`. `watch` replaces everything it knows; `add` and `remove` (answered by `removed`)
 * follow. `forward` and the end of the connection make it forward.
 */
import { statSync } from 'node:fs';
import type { TapFeatures } from '../linux/tap.ts';
import type { NodeMemoryNames } from '../shm-names.ts';

/** Number of this protocol: an agent ends a standby that has another one. */
export const PROTOCOL = 1;

/** A device of the node. */
export interface DeviceOfNode extends TapFeatures {
  /** Its port. */
  readonly index: number;
  /** Number under which it is known: its port's, unless that has another device. Absent: its port's. */
  readonly slot?: number;
  readonly name: string;
  /** Path of the network namespace that it is in; undefined: the node's own. */
  readonly netnsPath?: string | undefined;
}

export const slotOf = ({ index, slot = index }: DeviceOfNode): number => slot;

/** A device, with its queues. */
export interface HeldDevice {
  readonly device: DeviceOfNode;
  readonly fds: readonly number[];
}

/** What the standby is to take over. */
export interface Watched {
  /** The agent's process. */
  readonly pid: number;
  readonly tables: NodeMemoryNames;
  readonly tunnelOffload: boolean;
  readonly udpSegmentation: boolean;
}

export type ToStandby =
  | { readonly act: 'hello' | 'stop' | 'forward' }
  | ({ readonly act: 'watch' } & Watched)
  | { readonly act: 'add'; readonly device: DeviceOfNode }
  | { readonly act: 'remove'; readonly index: number };

export type FromStandby =
  | StandbyState
  | { readonly act: 'device'; readonly device: DeviceOfNode }
  | { readonly act: 'stopped' }
  | { readonly act: 'removed'; readonly index: number };

/** The standby's answer to `hello`. */
export interface StandbyState {
  readonly act: 'state';
  readonly protocol: number;
  readonly pid: number;
  /** Its program: a standby of another build is replaced. */
  readonly program: string;
  readonly forwarding: boolean;
  /** How many messages `device` follow. */
  readonly devices: number;
}

/** The socket that the standby listens on, in the node's state directory. */
export const STANDBY_SOCKET = 'standby.sock';

/** A standby's program as text that differs between builds. */
export function programText(path: string): string {
  return `${path} ${statSync(path).mtimeMs}`;
}
