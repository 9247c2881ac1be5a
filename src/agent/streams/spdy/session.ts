/**
 * SPDY/3.1 as Kubernetes uses it for exec, attach and port-forward (moby/spdystream): many streams over one connection,
 * without HTTP semantics and without flow control other than the connection's own. The peer opens streams; we reply.
 *
 * Received data that is not yet read is bounded: beyond MAX_UNREAD_BYTES the whole connection pauses.
 */
import { Duplex } from 'node:stream';
import { HeaderReader, HeaderWriter } from './header-block.ts';

/** Types of control frames (draft-mbelshe-httpbis-spdy-00 §2.6). */
const Type = { SYN_STREAM: 1, SYN_REPLY: 2, RST_STREAM: 3, SETTINGS: 4, PING: 6, GOAWAY: 7, HEADERS: 8 } as const;
const VERSION = 3;
const CONTROL_BIT = 0x8000;
const FLAG_FIN = 1;
/** Status of RST_STREAM: we refuse the stream, or no longer want it (§2.6.3). */
export const Reset = { REFUSED_STREAM: 3, CANCEL: 5 } as const;

const HEADER_BYTES = 8;
/** Largest frame accepted from a peer; kubectl sends 32 KiB. */
const MAX_FRAME_BYTES = 1024 * 1024;
/** Largest data frame sent. */
const DATA_BYTES = 32 * 1024;
const MAX_STREAMS = 1024;
const MAX_UNREAD_BYTES = 1024 * 1024;

/** One connection: reads frames, dispatches them to streams, and sends frames. */
export class SpdySession {
  private readonly transport: Duplex;
  private readonly onStream: (stream: SpdyStream) => void;
  private readonly streams = new Map<number, SpdyStream>();
  private readonly reader = new HeaderReader();
  private readonly writer = new HeaderWriter();
  private highest = 0;

  /** @param onStream called for each stream the peer opens; it accepts it with `accept` or refuses it with `reset` */
  constructor(transport: Duplex, onStream: (stream: SpdyStream) => void) {
    this.transport = transport;
    this.onStream = onStream;
  }

  /** Serves until the connection ends; never rejects. */
  async run(): Promise<void> {
    try {
      await this.read();
    } catch {
      // A protocol error or a broken connection: there is no peer to report it to.
    } finally {
      this.transport.destroy();
      this.reader.close();
      for (const stream of this.streams.values()) stream.wasReset();
      this.streams.clear();
    }
  }

  /** Ends the connection once all pending data is sent. */
  close(): void {
    this.transport.end();
  }

  private async read(): Promise<void> {
    let rest: Buffer = Buffer.alloc(0);
    for await (const chunk of this.transport as AsyncIterable<Buffer>) {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      while (rest.length >= HEADER_BYTES) {
        const length = rest.readUIntBE(5, 3);
        if (length > MAX_FRAME_BYTES) throw new Error(`SPDY frame of ${length} bytes`);
        const end = HEADER_BYTES + length;
        if (rest.length < end) break;
        const body = rest.subarray(HEADER_BYTES, end);
        const first = rest.readUInt16BE(0);
        const flags = rest[4]!;
        if ((first & CONTROL_BIT) === 0) await this.data(rest.readUInt32BE(0), flags, body);
        else if ((first & ~CONTROL_BIT) !== VERSION) throw new Error('not SPDY/3');
        else await this.control(rest.readUInt16BE(2), flags, body);
        rest = rest.subarray(end);
      }
    }
  }

  private async data(id: number, flags: number, body: Buffer): Promise<void> {
    const stream = this.streams.get(id);
    // Frames may still arrive for a stream that we have ended.
    if (stream === undefined) return;
    await stream.receive(body, (flags & FLAG_FIN) !== 0);
  }

  private async control(type: number, flags: number, body: Buffer): Promise<void> {
    switch (type) {
      case Type.SYN_STREAM:
        return this.open(flags, body);
      case Type.HEADERS:
      case Type.SYN_REPLY:
        // Every block changes the compression state, even one that is otherwise ignored.
        await this.reader.read(body.subarray(4));
        return;
      case Type.RST_STREAM: {
        const id = body.readUInt32BE(0);
        const stream = this.streams.get(id);
        this.streams.delete(id);
        stream?.wasReset();
        return;
      }
      case Type.PING:
        // Ours have even numbers, and we send none (§2.6.5).
        if (body.readUInt32BE(0) % 2 === 1) this.send(Type.PING, 0, Buffer.from(body));
        return;
      default:
        return; // SETTINGS, GOAWAY, WINDOW_UPDATE: nothing that is used here depends on them.
    }
  }

  private async open(flags: number, body: Buffer): Promise<void> {
    const id = body.readUInt32BE(0) & 0x7fffffff;
    const headers = await this.reader.read(body.subarray(10));
    if (id % 2 === 0 || id <= this.highest) throw new Error(`SPDY stream ${id} out of order`);
    this.highest = id;
    if (this.streams.size >= MAX_STREAMS) {
      this.reset(id, Reset.REFUSED_STREAM);
      return;
    }
    const stream = new SpdyStream(id, headers, {
      accept: () => this.reply(id),
      write: (bytes, fin, done) => this.sendData(id, bytes, fin, done),
      reset: (status) => this.reset(id, status),
      forget: () => this.streams.delete(id),
    });
    this.streams.set(id, stream);
    this.onStream(stream);
    if ((flags & FLAG_FIN) !== 0) await stream.receive(Buffer.alloc(0), true);
  }

  private reply(id: number): void {
    this.send(Type.SYN_REPLY, 0, withId(id, this.writer.write({})));
  }

  private reset(id: number, status: number): void {
    const body = Buffer.alloc(4);
    body.writeUInt32BE(status);
    this.streams.delete(id);
    this.send(Type.RST_STREAM, 0, withId(id, body));
  }

  private send(type: number, flags: number, body: Buffer): void {
    const head = Buffer.alloc(HEADER_BYTES);
    head.writeUInt16BE(CONTROL_BIT | VERSION, 0);
    head.writeUInt16BE(type, 2);
    head[4] = flags;
    head.writeUIntBE(body.length, 5, 3);
    if (this.transport.writable) this.transport.write(Buffer.concat([head, body]));
  }

  private sendData(id: number, bytes: Buffer, fin: boolean, done: (error?: Error | null) => void): void {
    if (!this.transport.writable) {
      done(new Error('the connection has ended'));
      return;
    }
    for (let at = 0; ; at += DATA_BYTES) {
      const piece = bytes.subarray(at, at + DATA_BYTES);
      const last = at + DATA_BYTES >= bytes.length;
      const head = Buffer.alloc(HEADER_BYTES);
      head.writeUInt32BE(id, 0);
      head[4] = last && fin ? FLAG_FIN : 0;
      head.writeUIntBE(piece.length, 5, 3);
      this.transport.write(head);
      if (last) {
        this.transport.write(piece, done);
        return;
      }
      this.transport.write(piece);
    }
  }
}

function withId(id: number, body: Buffer): Buffer {
  const bytes = Buffer.alloc(4 + body.length);
  bytes.writeUInt32BE(id);
  body.copy(bytes, 4);
  return bytes;
}

interface Wire {
  accept(): void;
  write(bytes: Buffer, fin: boolean, done: (error?: Error | null) => void): void;
  reset(status: number): void;
  forget(): void;
}

/** One stream: readable until the peer's FIN, writable until ours. */
export class SpdyStream extends Duplex {
  readonly id: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  private readonly wire: Wire;
  private wanted: (() => void) | undefined;
  private lost = false;

  constructor(id: number, headers: ReadonlyMap<string, string>, wire: Wire) {
    super({ readableHighWaterMark: 64 * 1024, allowHalfOpen: true });
    this.id = id;
    this.headers = headers;
    this.wire = wire;
    // A stream without a listener may still be reset.
    this.on('error', () => {});
  }

  accept(): void {
    this.wire.accept();
  }

  reset(status: number): void {
    this.lost = true;
    this.wire.reset(status);
    this.destroy();
  }

  /** Called by the session; resolves when there is room for more. */
  async receive(bytes: Buffer, fin: boolean): Promise<void> {
    if (this.destroyed) return;
    // A copy: the frame is a view into the connection's buffer.
    if (bytes.length > 0) this.push(Buffer.from(bytes));
    if (fin) this.push(null);
    else if (this.readableLength > MAX_UNREAD_BYTES) {
      await new Promise<void>((resolve) => {
        this.wanted = resolve;
      });
    }
  }

  /** The peer reset the stream, or the connection has ended. */
  wasReset(): void {
    this.lost = true;
    this.destroy(new Error('the stream was reset'));
  }

  override _read(): void {
    this.wanted?.();
    this.wanted = undefined;
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.wire.write(bytes, false, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.wire.write(Buffer.alloc(0), true, () => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.wanted?.();
    this.wanted = undefined;
    const finished = this.readableEnded && this.writableFinished;
    if (!finished && !this.lost) this.wire.reset(Reset.CANCEL);
    this.wire.forget();
    done(error);
  }
}
