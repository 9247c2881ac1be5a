/**
 * The agent's side of its standby (src/standby): a process that forwards while there is no agent.
 *
 * An agent that starts takes over from it: it receives the descriptors of the devices, so that no frame in their queues is
 * lost, prepares its tables while the standby forwards over those of the former agent, and stops it when its own workers are
 * ready. From then on the standby follows this agent: it is sent every device, and waits.
 *
 * The connection is the sign that the agent lives: it is never closed while workers run, unless the standby has been killed
 * before.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { moveOutside } from '../linux/cgroup/outside.ts';
import { connectTo, type DescriptorSocket, MessageReader } from '../linux/descriptor-socket.ts';
import { close } from '../linux/ffi.ts';
import { findProcess, type ProcessMark, signalProcess, waitGone } from '../linux/processes.ts';
import { holdForLife, wakeWatch } from '../linux/robust-lock.ts';
import { openShared } from '../linux/shm.ts';
import { isTapIn, type Tap } from '../linux/tap.ts';
import { findStandby, STANDBY_GROUP } from '../standby/find.ts';
import {
  type DeviceOfNode,
  type FromStandby,
  type HeldDevice,
  PROTOCOL,
  programText,
  STANDBY_SOCKET,
  type StandbyState,
  slotOf,
  type ToStandby,
  type Watched,
} from '../standby/messages.ts';
import { LIFE_LOCK_AT } from '../worker/control.ts';
import type { Part } from './parts.ts';

const PROGRAM = fileURLToPath(new URL('../standby/main.js', import.meta.url));
/** How long a standby may take to answer, milliseconds, before it is killed. */
const ANSWER_MS = 1000;
const GONE_MS = 3000;
/** How long a new standby may take to listen. */
const START_MS = 10_000;
const START_LOOK_MS = 20;
/** Time that the node's pods have for themselves before the first standby is started: it takes a core for a fifth of a second. */
const FIRST_START_MS = 1500;
/** Delay before a standby that has ended is replaced, doubled each time. */
const FIRST_RESTART_MS = 500;
const LAST_RESTART_MS = 60_000;
/** Of a standby that outlives its container, in the node's state directory. */
const STANDBY_LOG = 'standby.log';
const OWN_NAMESPACE = '/proc/self/ns/net';

/** Follows the ports of the workers. */
export interface PortFollower {
  add(device: DeviceOfNode, fds: readonly number[]): void;
  /** Resolves when the device's descriptors are no longer used. */
  remove(index: number): Promise<void>;
  /** The workers have stopped. */
  forward(): void;
}

export class NodeStandby implements Part, PortFollower {
  private readonly directory: string;
  private readonly log: (line: string) => void;
  private socket: DescriptorSocket | undefined;
  /** Watches the connection, from `follow` on. */
  private connection: Socket | undefined;
  private process: ProcessMark | undefined;
  private state: StandbyState | undefined;
  /** Devices of the standby that was found, until they are taken. */
  private found: HeldDevice[] = [];
  private watched: Watched | undefined;
  /** Address of the lock of the main thread, in the control memory. */
  private lifeLock = 0;
  private readonly devices = new Map<number, HeldDevice>();
  private readonly removed = new Map<number, () => void>();
  private restartMs = FIRST_RESTART_MS;
  private restart: NodeJS.Timeout | undefined;
  private closing = false;
  private readonly leavesContainer: boolean;

  /**
   * @param directory the node's state directory
   * @param leavesContainer the standby is to stay when the container of this agent ends
   */
  constructor(directory: string, log: (line: string) => void, leavesContainer = false) {
    this.directory = directory;
    this.log = log;
    this.leavesContainer = leavesContainer;
  }

  /** Connect to a standby that is running, and receive its devices. One that does not answer is killed. */
  async start(): Promise<void> {
    try {
      this.connect();
      for (let i = 0; i < (this.state?.devices ?? 0); i++) {
        const { message, fds } = this.receive();
        if (message.act === 'device') this.found.push({ device: message.device, fds });
      }
    } catch (error) {
      this.process = findStandby(this.directory);
      if (this.process !== undefined) this.log(`the standby is killed: ${(error as Error).message}`);
      await this.kill();
    }
  }

  /** @throws Error, SystemError if there is no standby, or none that can be used */
  private connect(): void {
    this.socket = connectTo(join(this.directory, STANDBY_SOCKET), ANSWER_MS);
    const state = this.ask({ act: 'hello' }, 'state');
    if (state.protocol !== PROTOCOL) throw new Error('it is of another version');
    this.state = state;
    this.process = findProcess(state.pid);
  }

  /** Does the standby forward? Then it uses the connections until `stop`. */
  get isForwarding(): boolean {
    return this.state?.forwarding ?? false;
  }

  /** The device of this name, if the standby has it with so many queues. @param netnsPath undefined: the node's own */
  take(name: string, queues: number, netnsPath?: string): Tap | undefined {
    const at = this.found.findIndex(({ device }) => device.name === name && device.netnsPath === netnsPath);
    if (at < 0) return undefined;
    const { device, fds } = this.found[at] as HeldDevice;
    // A device of the same name in a namespace of the same path may be another one.
    if (fds.length !== queues || !isTapIn(fds[0] as number, netnsPath ?? OWN_NAMESPACE)) return undefined;
    this.found.splice(at, 1);
    return { ...device, fds };
  }

  /**
   * Make the standby stop forwarding. When this returns, it touches no table and no device.
   * @returns false if it had to be killed, perhaps amid a change of a table
   */
  stop(): boolean {
    try {
      this.ask({ act: 'stop' }, 'stopped');
      return true;
    } catch (error) {
      this.log(`the standby is killed: ${(error as Error).message}`);
      signalProcess(this.process, 'SIGKILL');
      // The connection ends with its last thread.
      while (this.socket !== undefined && !this.hasEnded());
      this.forget();
      return false;
    }
  }

  /** This agent forwards: the standby follows it from now on. One of another build or container is replaced. */
  follow(watched: Omit<Watched, 'pid'>): void {
    this.watched = { ...watched, pid: process.pid };
    this.lifeLock = openShared(watched.tables.control).address + LIFE_LOCK_AT * 4;
    holdForLife(this.lifeLock);
    for (const { fds } of this.found) for (const fd of fds) close(fd);
    this.found = [];
    if (this.socket === undefined) {
      this.startLater(FIRST_START_MS);
      return;
    }
    // One that has left its container loses all paths when that is removed, and cannot open the memory of another agent.
    const isForeign = this.leavesContainer || this.state?.program !== programText(PROGRAM);
    if (isForeign) return void this.kill().then(() => this.spawn());
    this.brief();
  }

  /** The node has another device, or this one has other queues. */
  add(device: DeviceOfNode, fds: readonly number[]): void {
    this.devices.set(slotOf(device), { device, fds });
    if (this.connection !== undefined) this.send({ act: 'add', device }, fds);
  }

  /** Resolves when the standby has closed the device's queues. */
  async remove(index: number): Promise<void> {
    if (!this.devices.delete(index) || this.connection === undefined) return;
    const answer = new Promise<void>((resolve) => this.removed.set(index, resolve));
    this.send({ act: 'remove', index });
    await Promise.race([answer, sleep(ANSWER_MS, undefined, { ref: false })]);
  }

  /** The workers have stopped: the standby is to forward at once. */
  forward(): void {
    if (this.connection === undefined) return;
    this.closing = true;
    this.send({ act: 'forward' });
  }

  close(): void {
    this.closing = true;
    clearTimeout(this.restart);
    this.forget();
  }

  private send(message: ToStandby, fds?: readonly number[]): void {
    try {
      this.socket?.send(message, fds);
      wakeWatch(this.lifeLock);
    } catch (error) {
      this.log(`the standby is killed: ${(error as Error).message}`);
      signalProcess(this.process, 'SIGKILL');
    }
  }

  private receive(): { message: FromStandby; fds: readonly number[] } {
    const received = this.socket?.receive();
    if (received === undefined) throw new Error('it has ended');
    return { message: received.message as FromStandby, fds: received.fds };
  }

  /** Send a message and wait for the answer. @throws Error if there is none */
  private ask<Act extends FromStandby['act']>(message: ToStandby, act: Act): FromStandby & { act: Act } {
    if (this.socket === undefined) throw new Error('it is not connected');
    this.socket.send(message);
    const answer = this.receive().message;
    if (answer.act !== act) throw new Error(`it answers ${answer.act} to ${message.act}`);
    return answer as FromStandby & { act: Act };
  }

  private hasEnded(): boolean {
    try {
      return this.socket?.receive() === undefined;
    } catch {
      return false;
    }
  }

  /** Kill the standby; resolves when it has ended. */
  private async kill(): Promise<void> {
    signalProcess(this.process, 'SIGKILL');
    if (this.process !== undefined) await waitGone([this.process], GONE_MS);
    this.forget();
  }

  /** Close the connection. */
  private forget(): void {
    if (this.connection !== undefined) this.connection.destroy();
    else this.socket?.close();
    this.connection = undefined;
    this.socket = undefined;
    this.process = undefined;
    this.state = undefined;
  }

  private async spawn(): Promise<void> {
    // A container's runtime waits until nobody can write to its log any more.
    const log = this.leavesContainer ? openSync(join(this.directory, STANDBY_LOG), 'w', 0o600) : undefined;
    const child = spawn(process.execPath, [PROGRAM, this.directory], {
      detached: true,
      stdio: ['ignore', 'ignore', log ?? 'inherit'],
      cwd: '/',
    });
    if (log !== undefined) closeSync(log);
    child.on('error', (error) => this.log(`the standby cannot be started: ${error.message}`));
    let ended = child.pid === undefined;
    child.on('exit', () => {
      ended = true;
    });
    child.unref();
    if (this.leavesContainer && child.pid !== undefined) this.takeOut(child.pid);
    for (let waitedMs = 0; !ended && !this.closing && waitedMs < START_MS; waitedMs += START_LOOK_MS) {
      await sleep(START_LOOK_MS, undefined, { ref: false });
      try {
        this.connect();
        return this.brief();
      } catch {
        // It does not listen yet.
      }
    }
    if (!ended) child.kill('SIGKILL');
    this.startAgain();
  }

  private takeOut(pid: number): void {
    try {
      moveOutside(pid, STANDBY_GROUP);
    } catch (error) {
      this.log(`the standby will end with this container: ${(error as Error).message}`);
    }
  }

  private startAgain(): void {
    this.startLater(this.restartMs);
    this.restartMs = Math.min(this.restartMs * 2, LAST_RESTART_MS);
  }

  private startLater(delayMs: number): void {
    if (this.closing) return;
    this.restart = setTimeout(() => void this.spawn(), delayMs).unref();
  }

  /** Send everything, and watch the connection. */
  private brief(): void {
    const connection = new Socket({ fd: (this.socket as DescriptorSocket).fd });
    const reader = new MessageReader();
    this.connection = connection;
    connection.unref();
    connection.on('error', () => {});
    connection.on('data', (bytes) => {
      for (const message of reader.push(bytes) as FromStandby[]) {
        if (message.act === 'removed') this.removed.get(message.index)?.();
      }
    });
    connection.on('close', () => {
      if (connection !== this.connection) return;
      this.forget();
      if (this.closing) return;
      this.log('the standby has ended and is started again');
      this.startAgain();
    });
    this.send({ act: 'watch', ...(this.watched as Watched) });
    for (const { device, fds } of this.devices.values()) this.send({ act: 'add', device }, fds);
  }
}
