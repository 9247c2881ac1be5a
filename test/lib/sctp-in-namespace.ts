/**
 * An end of SCTP associations inside another network namespace, over a raw socket: the four-way handshake of RFC 9260 §5.1, so
 * that SCTP can be tried end to end on kernels without it. It accepts on some ports, and opens associations from others.
 */
import { inNamespace } from '../../src/linux/netns.ts';
import { openRawSocket, type RawSocket } from '../../src/linux/raw-socket.ts';
import { finishSctp } from './frames/reverse-packet.ts';

const PROTOCOL_SCTP = 132;
const BUFFER_BYTES = 2048;
const QUEUE_BYTES = 1 << 20;
const HEADER_BYTES = 12;
/** Chunk types (RFC 9260 §3.2). */
const Chunk = { INIT: 1, INIT_ACK: 2, ABORT: 6, COOKIE_ECHO: 10, COOKIE_ACK: 11 } as const;
/** A parameter of INIT ACK (§3.3.3). */
const STATE_COOKIE = 7;
const INIT_BYTES = 16;
const WINDOW = 65_536;

interface Received {
  readonly from: string;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly tag: number;
  readonly type: number;
  readonly value: Buffer;
}

export class SctpEnd {
  /** Called when an association is established with a port of an address. */
  onOpen: (address: string, port: number) => void = () => {};
  private readonly socket: RawSocket;
  private readonly accepts: readonly number[];
  /** Associations that it opens, by their source port. */
  private readonly opening = new Map<number, number>();

  /** @param accepts ports on which it accepts associations */
  constructor(netns: string, accepts: readonly number[]) {
    this.accepts = accepts;
    this.socket = inNamespace(netns, () => openRawSocket(PROTOCOL_SCTP, BUFFER_BYTES, QUEUE_BYTES));
    this.socket.on('error', () => {});
    this.socket.on('message', (packet, source) => {
      const received = parse(packet, source);
      if (received !== undefined) this.receive(received);
    });
  }

  /** Begins an association from this port, once. */
  open(address: string, port: number, fromPort: number): void {
    const tag = 1 + Math.floor(Math.random() * 0xfffffffe);
    this.opening.set(fromPort, tag);
    this.send(address, { fromPort, port, tag: 0 }, Chunk.INIT, init(tag));
  }

  /** Does not finish any more what is being opened. */
  giveUp(): void {
    this.opening.clear();
  }

  close(): void {
    this.socket.close();
  }

  private receive({ from, srcPort, dstPort, tag, type, value }: Received): void {
    const back = (peerTag: number) => ({ fromPort: dstPort, port: srcPort, tag: peerTag });
    const ownTag = this.opening.get(dstPort);
    if (type === Chunk.INIT && this.accepts.includes(dstPort)) {
      // The cookie is all that the accepting end remembers (§5.1.3): the tag of its peer.
      const cookie = Buffer.from([0, STATE_COOKIE, 0, 8, ...value.subarray(0, 4)]);
      this.send(from, back(value.readUInt32BE(0)), Chunk.INIT_ACK, Buffer.concat([init(SERVER_TAG), cookie]));
    } else if (type === Chunk.COOKIE_ECHO && this.accepts.includes(dstPort)) {
      this.send(from, back(value.readUInt32BE(0)), Chunk.COOKIE_ACK, Buffer.alloc(0));
    } else if (ownTag === undefined || tag !== ownTag) {
      return;
    } else if (type === Chunk.INIT_ACK) {
      const cookie = value.subarray(INIT_BYTES + 4, INIT_BYTES + value.readUInt16BE(INIT_BYTES + 2));
      this.send(from, back(value.readUInt32BE(0)), Chunk.COOKIE_ECHO, cookie);
    } else if (type === Chunk.COOKIE_ACK) {
      this.opening.delete(dstPort);
      this.onOpen(from, srcPort);
      this.send(from, back(SERVER_TAG), Chunk.ABORT, Buffer.alloc(0));
    }
  }

  private send(
    address: string,
    { fromPort, port, tag }: { fromPort: number; port: number; tag: number },
    type: number,
    value: Buffer,
  ): void {
    const packet = Buffer.alloc(HEADER_BYTES + 4 + value.length);
    packet.writeUInt16BE(fromPort, 0);
    packet.writeUInt16BE(port, 2);
    packet.writeUInt32BE(tag, 4);
    packet[HEADER_BYTES] = type;
    packet.writeUInt16BE(4 + value.length, HEADER_BYTES + 2);
    value.copy(packet, HEADER_BYTES + 4);
    finishSctp(packet, 0, packet.length);
    this.socket.wrap.send(packet, 0, packet.length, address, () => {});
  }
}

/** The same for all associations: nobody attacks them. */
const SERVER_TAG = 0x5c7b_0001;

/** Value of an INIT or INIT ACK (§3.3.2). */
function init(tag: number): Buffer {
  const value = Buffer.alloc(INIT_BYTES);
  value.writeUInt32BE(tag, 0);
  value.writeUInt32BE(WINDOW, 4);
  value.writeUInt16BE(1, 8);
  value.writeUInt16BE(1, 10);
  value.writeUInt32BE(1, 12);
  return value;
}

/** @param packet with its IPv4 header. @returns undefined if it is damaged: its checksum must fit (§6.8) */
function parse(packet: Buffer, from: string): Received | undefined {
  const l4 = (packet[0]! & 15) * 4;
  const sctp = Buffer.from(packet.subarray(l4));
  if (sctp.length < HEADER_BYTES + 4) return undefined;
  const given = sctp.readUInt32LE(8);
  finishSctp(sctp, 0, sctp.length);
  if (sctp.readUInt32LE(8) !== given) return undefined;
  return {
    from,
    srcPort: sctp.readUInt16BE(0),
    dstPort: sctp.readUInt16BE(2),
    tag: sctp.readUInt32BE(4),
    type: sctp[HEADER_BYTES]!,
    value: sctp.subarray(HEADER_BYTES + 4, HEADER_BYTES + sctp.readUInt16BE(HEADER_BYTES + 2)),
  };
}
