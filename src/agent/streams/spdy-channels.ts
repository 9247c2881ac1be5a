/**
 * The channels of a command over SPDY/3.1, one stream each, named by the header `streamtype` (kubelet,
 * pkg/kubelet/cri/streaming/remotecommand/httpstream.go). The client opens them; the command starts when all are open.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex, Readable, Writable } from 'node:stream';
import {
  type ChannelRequest,
  type CommandChannels,
  type Outcome,
  outcomeStatus,
  outcomeText,
  parseTerminalSize,
  SizeQueue,
} from './command-channels.ts';
import { Reset, SpdySession, type SpdyStream } from './spdy/session.ts';

/** How long the client may take to open its streams (kubelet: DefaultStreamCreationTimeout). */
const OPEN_MS = 30_000;
const MAX_SIZE_BYTES = 4096;

/** In our order of preference. From v3 on there is a resize stream, from v4 on a Status on the error stream. */
const PROTOCOLS = ['v4.channel.k8s.io', 'v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io'] as const;

/** Accepts the upgrade with the best common protocol. Undefined, after a 403 response, if there is none. */
export function acceptSpdy(
  request: IncomingMessage,
  socket: Duplex,
  supported: readonly string[],
): { protocol: string } | undefined {
  const offered = [request.headers['x-stream-protocol-version'] ?? []].flat().flatMap((text) => text.split(/, */));
  const protocol = offered.length === 0 ? supported.at(-1) : supported.find((name) => offered.includes(name));
  if (protocol === undefined) {
    const accepted = supported.map((name) => `X-Accepted-Stream-Protocol-Versions: ${name}\r\n`).join('');
    socket.end(`HTTP/1.1 403 Forbidden\r\n${accepted}connection: close\r\n\r\n`);
    return undefined;
  }
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ${protocol}\r\n\r\n`,
  );
  return { protocol };
}

/** Resolves when all streams are open; undefined if they are not opened in time. */
export async function spdyChannels(
  request: IncomingMessage,
  socket: Duplex,
  wanted: ChannelRequest,
): Promise<CommandChannels | undefined> {
  const accepted = acceptSpdy(request, socket, PROTOCOLS);
  if (accepted === undefined) return undefined;
  const version = PROTOCOLS.length - PROTOCOLS.indexOf(accepted.protocol as (typeof PROTOCOLS)[number]);
  const expected = new Set(['error']);
  if (wanted.stdin) expected.add('stdin');
  if (wanted.stdout) expected.add('stdout');
  if (wanted.stderr && !wanted.tty) expected.add('stderr');
  if (wanted.tty && version >= 3) expected.add('resize');
  const streams = new Map<string, SpdyStream>();
  const leaving = new AbortController();
  let complete = () => {};
  const all = new Promise<void>((resolve) => {
    complete = resolve;
  });
  const session = new SpdySession(socket, (stream) => {
    const type = stream.headers.get('streamtype') ?? '';
    if (!expected.has(type) || streams.has(type)) return stream.reset(Reset.REFUSED_STREAM);
    streams.set(type, stream);
    stream.accept();
    if (streams.size === expected.size) complete();
  });
  void session.run().then(() => leaving.abort());
  const late = setTimeout(() => socket.destroy(), OPEN_MS);
  const ended = new Promise<void>((resolve) =>
    leaving.signal.addEventListener('abort', () => resolve(), { once: true }),
  );
  await Promise.race([all, ended]);
  clearTimeout(late);
  if (streams.size < expected.size) return undefined;
  return new SpdyChannels(session, streams, leaving.signal, version >= 4);
}

class SpdyChannels implements CommandChannels {
  readonly gone: AbortSignal;
  private readonly session: SpdySession;
  private readonly streams: ReadonlyMap<string, SpdyStream>;
  private readonly withStatus: boolean;
  private readonly sizes = new SizeQueue();

  constructor(session: SpdySession, streams: ReadonlyMap<string, SpdyStream>, gone: AbortSignal, withStatus: boolean) {
    this.session = session;
    this.streams = streams;
    this.gone = gone;
    this.withStatus = withStatus;
    const resize = streams.get('resize');
    if (resize !== undefined) this.readSizes(resize);
  }

  get stdin(): Readable | undefined {
    return this.streams.get('stdin');
  }

  get stdout(): Writable | undefined {
    return this.streams.get('stdout');
  }

  get stderr(): Writable | undefined {
    return this.streams.get('stderr');
  }

  onResize(listener: Parameters<CommandChannels['onResize']>[0]): void {
    this.sizes.listen(listener);
  }

  async finish(outcome: Outcome): Promise<void> {
    const text = this.withStatus ? JSON.stringify(outcomeStatus(outcome)) : outcomeText(outcome);
    const ends = ['stdout', 'stderr', 'error'].map((name) => {
      const stream = this.streams.get(name);
      if (stream === undefined || stream.destroyed) return undefined;
      return new Promise<void>((resolve) => {
        stream.once('close', () => resolve());
        if (name === 'error' && text !== '') stream.end(text, () => resolve());
        else stream.end(() => resolve());
      });
    });
    await Promise.all(ends);
    this.session.close();
  }

  /** A sequence of JSON objects, one per line, as Go's encoder writes them. */
  private readSizes(stream: Readable): void {
    let text = '';
    stream.on('data', (chunk: Buffer) => {
      text = (text + chunk.toString()).slice(-MAX_SIZE_BYTES);
      const lines = text.split('\n');
      text = lines.pop()!;
      for (const line of lines) this.sizes.push(parseTerminalSize(line));
    });
  }
}
