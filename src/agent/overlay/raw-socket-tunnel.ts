/**
 * An overlay over IP through a raw socket: the main thread sends the packets in the workers' rings with one IP
 * protocol, and puts received packets into the rings of the other direction. The kernel writes the outer header and
 * reassembles fragments.
 *
 * A packet is passed on if it was sent to this node's address. The pipeline (overlay/peers.ts) checks that it came from
 * a node of the cluster, and from the node that the inner source belongs to, and counts what it drops.
 *
 * RFC 2003; linux net/ipv4/raw.c (a raw socket gets the outer header with the packet).
 */
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import {
  IPV4_MIN_BYTES,
  ipv4Destination,
  ipv4HeaderBytes,
  ipv4Source,
} from '../../../native-free-dataplane/wire/ipv4.ts';
import { PacketRing, ringBytes } from '../../devices/packet-ring.ts';
import { eventfd, mapPrivate, SystemError, write } from '../../linux/ffi.ts';
import { isBusy, openRawSocket, type RawSocket, setTypeOfService } from '../../linux/raw-socket.ts';
import { openShared, type SharedMemory } from '../../linux/shm.ts';
import { unlinkShared } from '../../linux/shm-files.ts';
import { ringNames } from '../../shm-names.ts';
import type { TunnelOfWorker } from '../../worker/messages.ts';

/** Largest IP packet. */
const PACKET_BYTES = 65536;
/** Size of each ring: about 700 packets of 1500 bytes, as many as a device's queue. */
const RING_ROOM = 1 << 20;
const EFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
/** Size of the socket's kernel queues, for while the agent is busy. */
const QUEUE_BYTES = 8 << 20;
/** Packets handled before yielding to the event loop. */
const BATCH = 256;
/** The ECN field in the second byte of an IPv4 header (RFC 3168 §5). */
const ECN_MASK = 3;
/** Shortest interval between log lines about failures. */
const LOG_MS = 10_000;

interface WorkerRings {
  readonly outward: PacketRing;
  readonly inward: PacketRing;
  readonly out: Buffer;
  readonly wakeFd: number;
  draining: boolean;
}

/** The options of a tunnel through a raw socket. */
export interface RawSocketTunnelOptions {
  readonly nodeName: string;
  readonly nodeIP: string;
  readonly workers: number;
  /** Name of the overlay, for the rings and the log. */
  readonly overlay: string;
  /** IP protocol of its packets. */
  readonly protocol: number;
  readonly log: (line: string) => void;
}

/** The raw socket, and the rings to and from each worker. */
export class RawSocketTunnel {
  /** Passed to each worker. */
  readonly ofWorkers: readonly TunnelOfWorker[];
  private readonly socket: RawSocket;
  private readonly rings: WorkerRings[] = [];
  private readonly memory: SharedMemory[] = [];
  private readonly names = new Map<number, string>();
  private readonly nodeIP: number;
  private readonly log: (line: string) => void;
  private readonly overlay: string;
  private readonly received = Buffer.alloc(PACKET_BYTES);
  private readonly receivedView = viewOf(this.received);
  private readonly one = mapPrivate(8);
  private readonly dirty: boolean[] = [];
  /** ECN field of what the socket sends now. */
  private ecn = 0;
  private loggedAt = 0;
  private unlogged = 0;
  private closed = false;

  /** @throws Error if the raw-socket package is missing, SystemError */
  constructor(options: RawSocketTunnelOptions) {
    this.nodeIP = wordOf(options.nodeIP);
    this.log = options.log;
    this.overlay = options.overlay;
    this.socket = openRawSocket(options.protocol, PACKET_BYTES, QUEUE_BYTES);
    this.socket.on('message', (packet) => {
      this.take(packet, packet.length);
      this.drainSocket();
    });
    this.socket.on('error', (error) => this.report(error.message));
    new DataView(this.one.buffer).setBigUint64(0, 1n, true);
    this.ofWorkers = Array.from({ length: options.workers }, (_, worker) => this.open(options.nodeName, worker));
  }

  private open(node: string, worker: number): TunnelOfWorker {
    const names = ringNames(node, this.overlay, worker);
    const share = (name: string): SharedMemory => {
      unlinkShared(name);
      const memory = openShared(name, { bytes: ringBytes(RING_ROOM), create: true });
      this.memory.push(memory);
      return memory;
    };
    const [outward, inward] = [share(names.outward), share(names.inward)];
    const wakeFd = eventfd(0, EFD_NONBLOCK_CLOEXEC);
    if (wakeFd < 0) throw new SystemError('eventfd', '');
    const rings = {
      outward: new PacketRing(outward.buffer),
      inward: new PacketRing(inward.buffer),
      out: Buffer.from(outward.buffer),
      wakeFd,
      draining: false,
    };
    rings.outward.sleep();
    this.rings.push(rings);
    return { ...names, wakeFd };
  }

  /** A worker has added a packet to its empty ring. */
  drain(worker: number): void {
    const rings = this.rings[worker];
    if (!rings || rings.draining || this.closed) return;
    rings.draining = true;
    this.sendSome(rings);
  }

  private sendSome(rings: WorkerRings): void {
    const { outward, out } = rings;
    for (let n = 0; !this.closed; n++) {
      if (!outward.next()) {
        if (!outward.sleep()) continue;
        rings.draining = false;
        return;
      }
      if (n === BATCH) {
        setImmediate(() => this.sendSome(rings));
        return;
      }
      try {
        this.mark(out[outward.at + 1] as number);
        this.socket.wrap.send(out, outward.at, outward.length, this.nameOf(outward.tag), ignore);
      } catch (error) {
        // The kernel's queue is full: packets wait in the ring, and those that find the ring full are counted and lost.
        if (isBusy(error)) {
          setTimeout(() => this.sendSome(rings), 1);
          return;
        }
        this.report(`to ${this.nameOf(outward.tag)}: ${(error as Error).message}`);
      }
      outward.release();
    }
  }

  /**
   * Give the kernel's outer header the ECN field of the inner packet (RFC 6040 §4.1).
   * @param service its second byte
   */
  private mark(service: number): void {
    const ecn = service & ECN_MASK;
    if (ecn === this.ecn) return;
    setTypeOfService(this.socket, ecn);
    this.ecn = ecn;
  }

  /** Read every packet available; one has been read already. */
  private drainSocket(): void {
    const taken = (buffer: Buffer, bytes: number): void => this.take(buffer, bytes);
    try {
      for (let n = 1; n < BATCH; n++) this.socket.wrap.recv(this.received, taken);
    } catch (error) {
      if (!isBusy(error)) this.report((error as Error).message);
    }
    for (let worker = 0; worker < this.rings.length; worker++) {
      if (!this.dirty[worker]) continue;
      this.dirty[worker] = false;
      write((this.rings[worker] as WorkerRings).wakeFd, this.one.address, 8);
    }
  }

  /** A received packet, outer header first. */
  private take(packet: Buffer, bytes: number): void {
    const view = packet === this.received ? this.receivedView : viewOf(packet);
    // The pipeline would return packets for another address to the kernel, and the kernel to this socket.
    if (bytes < 2 * IPV4_MIN_BYTES || ipv4Destination(view, 0) !== this.nodeIP) return;
    // The sum covers both ends of a connection, symmetrically: its packets stay in order, on one worker.
    const inner = ipv4HeaderBytes(view, 0);
    if (bytes < inner + IPV4_MIN_BYTES) return;
    const mixed = Math.imul(ipv4Source(view, inner) ^ ipv4Destination(view, inner), 0x9e3779b1);
    const worker = (mixed >>> 16) % this.rings.length;
    const rings = this.rings[worker] as WorkerRings;
    if (rings.inward.push(0, packet, 0, bytes)) this.dirty[worker] = true;
    else this.report('a worker does not keep up: packets are lost');
  }

  private nameOf(address: number): string {
    let name = this.names.get(address);
    if (name === undefined) {
      name = addressText(address);
      this.names.set(address, name);
    }
    return name;
  }

  private report(what: string): void {
    this.unlogged++;
    const now = Date.now();
    if (now - this.loggedAt < LOG_MS) return;
    this.log(`${this.overlay}: ${what}${this.unlogged > 1 ? ` (and ${this.unlogged - 1} more)` : ''}`);
    this.loggedAt = now;
    this.unlogged = 0;
  }

  /** The workers must have stopped. Their ends of the rings stay mapped until the process ends. */
  close(): void {
    this.closed = true;
    this.socket.close();
    for (const { outward, inward } of this.ofWorkers) {
      unlinkShared(outward);
      unlinkShared(inward);
    }
  }
}

const ignore = (): void => {};
const wordOf = (ip: string): number => addressWords(ip)[3] as number;
const addressText = (word: number): string => [24, 16, 8, 0].map((shift) => (word >>> shift) & 255).join('.');

const viewOf = (packet: Buffer): DataView => new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
