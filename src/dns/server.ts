/**
 * The name server of a node: UDP and TCP on one address and port. A query that cannot be parsed gets the matching error
 * code, or no response; nothing a client sends throws or is stored.
 */
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import { limitConnections } from '../net/connection-limits.ts';
import { AnswerCache } from './answer-cache.ts';
import { Denials } from './denials.ts';
import {
  type Query,
  Rcode,
  type Response,
  readQuery,
  TCP_BYTES,
  udpRoom,
  writeRefusal,
  writeResponse,
} from './message.ts';
import type { Resolver } from './resolver.ts';

const LIMITS = { total: 512, perAddress: 64 };
/** A TCP connection without a query for this long is closed (RFC 7766 §6.2.3). */
const IDLE_MS = 10_000;
/** Pending upstream queries per connection, and for all over UDP; more are refused. */
const MAX_WAITING_TCP = 32;
const MAX_WAITING_UDP = 2000;
/** Size of the socket's receive buffer: for bursts of some thousand queries while the agent is busy. */
export const RECEIVE_BYTES = 4 * 1024 * 1024;

export interface DnsServerOptions {
  readonly address: string;
  readonly port: number;
  /** A UDP socket that is bound to them, such as one with a larger buffer; the server closes it. */
  readonly udpSocket?: number | undefined;
  readonly resolver: Resolver;
  readonly log: (line: string) => void;
}

export interface DnsCounts {
  queries: number;
  malformed: number;
  refused: number;
}

export class DnsServer {
  readonly counts: DnsCounts = { queries: 0, malformed: 0, refused: 0 };
  private readonly options: DnsServerOptions;
  private readonly udp: UdpSocket;
  private readonly tcp: Server;
  private readonly answers = new AnswerCache();
  private readonly denials: Denials;
  private waiting = 0;

  private constructor(options: DnsServerOptions) {
    this.options = options;
    this.denials = new Denials(options.resolver);
    const { udpSocket } = options;
    this.udp = createSocket({
      type: 'udp4',
      // Destinations are addresses: without this every response would take a turn through dns.lookup.
      lookup: (address, _options, done) => done(null, address, 4),
      ...(udpSocket === undefined && { recvBufferSize: RECEIVE_BYTES }),
    });
    this.udp.on('message', (message, from) => this.receive(message, from));
    this.tcp = createServer((socket) => this.accept(socket));
    limitConnections(this.tcp, LIMITS);
  }

  /** @throws Error if the address is in use */
  static async listen(options: DnsServerOptions): Promise<DnsServer> {
    const server = new DnsServer(options);
    const { address, port, udpSocket: fd } = options;
    try {
      await new Promise<void>((resolve, reject) => {
        server.udp.once('error', reject);
        server.udp.bind(fd === undefined ? { address, port, exclusive: true } : { fd, exclusive: true }, resolve);
      });
      await new Promise<void>((resolve, reject) => {
        server.tcp.once('error', reject);
        server.tcp.listen({ host: address, port: server.port, exclusive: true }, resolve);
      });
    } catch (error) {
      server.close();
      throw error;
    }
    const lost = (error: Error) => options.log(`name server: ${error.message}`);
    server.udp.removeAllListeners('error').on('error', lost);
    server.tcp.removeAllListeners('error').on('error', lost);
    return server;
  }

  /** The port of both sockets: the requested one, or the one assigned for 0. */
  get port(): number {
    return this.udp.address().port;
  }

  close(): void {
    this.udp.close();
    this.tcp.close();
  }

  private receive(message: Buffer, from: RemoteInfo): void {
    // A response to source port 0 cannot be sent.
    if (from.port === 0) return;
    const send = (answer: Buffer) => this.udp.send(answer, from.port, from.address, () => {});
    const { resolver } = this.options;
    const known = this.answers.find(message, resolver.version) ?? this.denials.find(message);
    if (known !== undefined) {
      this.counts.queries++;
      send(known);
      return;
    }
    const query = this.read(message, send);
    if (query === undefined) return;
    const answer = resolver.resolve(query);
    if (!(answer instanceof Promise)) {
      const response = writeResponse(query, answer, udpRoom(query));
      // Several records come in another order each time.
      if ((answer.answers?.length ?? 0) <= 1) this.answers.keep(message, response);
      send(response);
    } else if (this.waiting >= MAX_WAITING_UDP) send(this.busy(query, udpRoom(query)));
    else void this.finish(query, answer, udpRoom(query), send);
  }

  private accept(socket: Socket): void {
    let pending: Buffer = Buffer.alloc(0);
    let waiting = 0;
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    const send = (answer: Buffer) => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(answer.length);
      socket.write(Buffer.concat([length, answer]));
    };
    socket.on('data', (chunk: Buffer) => {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
        const end = 2 + pending.readUInt16BE(0);
        const query = this.read(pending.subarray(2, end), send);
        pending = pending.subarray(end);
        if (query === undefined) continue;
        const answer = this.options.resolver.resolve(query);
        if (!(answer instanceof Promise)) send(writeResponse(query, answer, TCP_BYTES));
        else if (waiting >= MAX_WAITING_TCP) send(this.busy(query, TCP_BYTES));
        else {
          waiting++;
          void this.finish(query, answer, TCP_BYTES, send).finally(() => waiting--);
        }
      }
      // If a client does not read its responses, we stop reading from it.
      if (socket.writableNeedDrain) {
        socket.pause();
        socket.once('drain', () => socket.resume());
      }
    });
  }

  private read(message: Buffer, send: (answer: Buffer) => void): Query | undefined {
    this.counts.queries++;
    const query = readQuery(message);
    if (query === undefined) this.counts.malformed++;
    else if ('rcode' in query) {
      this.counts.malformed++;
      send(writeRefusal(query.id, query.rcode));
    } else return query;
    return undefined;
  }

  private async finish(
    query: Query,
    answer: Promise<Response>,
    room: number,
    send: (answer: Buffer) => void,
  ): Promise<void> {
    this.waiting++;
    try {
      send(writeResponse(query, await answer, room));
    } catch (error) {
      this.options.log(`name server: ${query.name}: ${(error as Error).message}`);
    } finally {
      this.waiting--;
    }
  }

  private busy(query: Query, room: number): Buffer {
    this.counts.refused++;
    const response = {
      rcode: Rcode.REFUSED,
      authoritative: false,
      recursionAvailable: true,
      reason: 'too many queries are pending at the upstream name server',
    };
    return writeResponse(query, response, room);
  }
}
