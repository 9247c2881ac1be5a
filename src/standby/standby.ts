/**
 * The standby of a node's agent: a process that holds the descriptors of the node's devices, and forwards over the node's
 * tables while there is no agent. It does nothing else: no API, no pods, no change of a table but what frames change.
 *
 * It waits in a system call for the agent's next message or its end (linux/robust-lock.ts). When no thread of the agent can
 * touch the tables any more, it repairs what was left half-written and forwards at once, with the same queues: frames that
 * arrived meanwhile are in them.
 *
 *   WAITING --(agent ends, or `forward`)--> FORWARDING --(`stop` of the next agent)--> STOPPED --(`watch`)--> WAITING
 *                                                ^--------------(that agent ends)---------'
 *
 * FORWARDING and STOPPED: the tables are those of the former agent, whose memory has no name any more once the next agent
 * has created its own. They are given up at `watch`, when the next agent is forwarding.
 */
import { existsSync, fstatSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { acceptFrom, type DescriptorSocket, limitTime, listenAt, type Received } from '../linux/descriptor-socket.ts';
import { Epoll } from '../linux/epoll.ts';
import { close, isReadable } from '../linux/ffi.ts';
import { isLocked } from '../linux/lock-file.ts';
import { isBeingKilled } from '../linux/processes.ts';
import { ignoreTermination } from '../linux/signals.ts';
import { sleepSync } from '../linux/sleep.ts';
import { warmUp } from '../worker/warm-up.ts';
import { type FromStandby, type HeldDevice, PROTOCOL, slotOf, type ToStandby, type Watched } from './messages.ts';
import { StandbyForwarder } from './standby-forwarder.ts';

/** How long a new standby waits for its agent to connect, milliseconds. */
const FIRST_AGENT_MS = 10_000;
/** How long an agent may leave messages unread, milliseconds: frames wait meanwhile. */
const SEND_LIMIT_MS = 100;

/** Keys of what is polled while forwarding. */
const LISTENING = 0;
const AGENT = 1;

/** How often to look whether the threads of an agent that ends have stopped. */
const NAP_MS = 0.5;

export interface StandbyOptions {
  /** Path of the socket that it listens on: while that exists, so does the node. */
  readonly socket: string;
  /** Differs between builds (programText). */
  readonly program: string;
  /** The file that an agent holds locked. */
  readonly agentLock: string;
}

export class Standby {
  private readonly options: StandbyOptions;
  private readonly listening: number;
  private readonly sockets = new Epoll(4);
  private readonly devices = new Map<number, HeldDevice>();
  private agent: DescriptorSocket | undefined;
  private agentPid = 0;
  /** Over the tables that are watched. */
  private forwarder: StandbyForwarder | undefined;
  /** FORWARDING or STOPPED? */
  private isForwarding = false;

  /** Descriptor of the directory with the socket. */
  private readonly directory: number;

  /** @throws SystemError if it cannot listen */
  constructor(options: StandbyOptions) {
    this.options = options;
    this.directory = openSync(dirname(options.socket), 'r');
    this.listening = listenAt(options.socket);
  }

  /** Serve until the process ends. */
  serve(): never {
    limitTime(this.listening, FIRST_AGENT_MS);
    this.agent = acceptFrom(this.listening);
    this.sockets.add(this.listening, LISTENING);
    for (;;) {
      const received = this.next();
      if (received !== undefined) this.handle(received);
      else if (this.forwarder === undefined) process.exit(0);
      else {
        this.awaitEndOfAgent();
        this.forward(this.forwarder, true);
      }
    }
  }

  /** The next message; undefined if the agent has ended. */
  private next(): Received | undefined {
    const { agent, forwarder } = this;
    if (agent === undefined) return undefined;
    // STOPPED: the tables are a former agent's, and so is the lock in them.
    if (forwarder === undefined || this.isForwarding) return agent.receive();
    while (!isReadable(agent.fd)) if (forwarder.waitForEnd()) return undefined;
    return agent.receive();
  }

  /** A message, unless it ends the forwarding. */
  private handle({ message, fds }: Received): void {
    const order = message as ToStandby;
    if (order.act === 'hello') this.describe();
    else if (order.act === 'stop') this.send({ act: 'stopped' });
    else if (order.act === 'watch') this.watch(order);
    else if (order.act === 'add') this.add({ device: order.device, fds });
    else if (order.act === 'remove') {
      this.remove(order.index);
      this.send({ act: 'removed', index: order.index });
    } else if (this.forwarder !== undefined) this.forward(this.forwarder, false);
  }

  private watch(watched: Watched): void {
    if (this.forwarder === undefined) warmUp();
    this.forwarder?.close();
    this.agentPid = watched.pid;
    this.isForwarding = false;
    for (const index of [...this.devices.keys()]) this.remove(index);
    this.forwarder = new StandbyForwarder(watched, this.sockets.fd, {
      onWake: () => this.serveSockets(),
      onLook: () => this.hasNode() || process.exit(0),
    });
  }

  /**
   * Is the node still there? Its directory is gone for good when nothing links to it any more. Its path may be gone earlier: the
   * mounts of a container end when the directory they are in is removed (linux fs/namespace.c __detach_mounts).
   */
  private hasNode(): boolean {
    const { socket } = this.options;
    if (fstatSync(this.directory).nlink === 0) return false;
    return existsSync(socket) || !existsSync(dirname(socket));
  }

  private add(held: HeldDevice): void {
    const slot = slotOf(held.device);
    this.remove(slot);
    this.devices.set(slot, held);
  }

  private remove(index: number): void {
    for (const fd of this.devices.get(index)?.fds ?? []) close(fd);
    this.devices.delete(index);
  }

  /** Forward until the next agent orders `stop`. @param repair whether the last user of the tables may have ended amid a change */
  private forward(forwarder: StandbyForwarder, repair: boolean): void {
    this.isForwarding = true;
    this.disconnect();
    ignoreTermination(true);
    this.log(`the agent has ${repair ? 'ended' : 'stopped'}: the standby forwards`);
    forwarder.run(this.devices.values(), repair);
    ignoreTermination(false);
    this.send({ act: 'stopped' });
  }

  /** No thread of the agent runs any more: they are about to be killed, or its lock has been released with its files. */
  private awaitEndOfAgent(): void {
    while (!isBeingKilled(this.agentPid) && isLocked(this.options.agentLock)) sleepSync(NAP_MS);
  }

  /** While forwarding: connections and messages. */
  private serveSockets(): void {
    const ready = this.sockets.wait(0);
    for (let i = 0; i < ready; i++) {
      if (this.sockets.keyAt(i) === LISTENING) this.accept();
      else this.serveAgent();
    }
  }

  private accept(): void {
    // The agent holds the node's lock: an earlier one has ended.
    this.disconnect();
    this.agent = acceptFrom(this.listening);
    if (this.agent === undefined) return;
    limitTime(this.agent.fd, SEND_LIMIT_MS);
    this.sockets.add(this.agent.fd, AGENT);
  }

  private serveAgent(): void {
    try {
      const received = this.agent?.receive();
      const act = received && (received.message as ToStandby).act;
      if (received === undefined) this.disconnect();
      else if (act === 'stop') {
        this.sockets.remove((this.agent as DescriptorSocket).fd);
        limitTime((this.agent as DescriptorSocket).fd, 0);
        this.forwarder?.stop();
      } else if (act === 'hello') this.handle(received);
    } catch {
      // An agent that sends or reads half a message.
      this.disconnect();
    }
  }

  private disconnect(): void {
    if (this.agent === undefined) return;
    this.sockets.remove(this.agent.fd);
    this.agent.close();
    this.agent = undefined;
  }

  private describe(): void {
    const { devices, isForwarding: forwarding } = this;
    const { program } = this.options;
    const { pid } = process;
    this.send({ act: 'state', protocol: PROTOCOL, pid, program, forwarding, devices: devices.size });
    for (const { device, fds } of devices.values()) this.send({ act: 'device', device }, fds);
  }

  private log(line: string): void {
    process.stderr.write(`${new Date().toISOString()} ${line}\n`);
  }

  private send(message: FromStandby, fds?: readonly number[]): void {
    try {
      this.agent?.send(message, fds);
    } catch {
      // Its end is noticed at the next message.
    }
  }
}
