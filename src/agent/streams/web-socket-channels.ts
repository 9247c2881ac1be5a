/**
 * The channels of a command over one WebSocket: the first byte of a message is the channel number (apiserver/pkg/util/
 * wsstream; client-go tools/remotecommand/websocket.go). v5 adds a message that closes a channel, so that a command
 * sees the end of its input. The base64 variants are for browsers: a digit, then the content in base64, as text.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { Readable, Writable } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import {
  type ChannelRequest,
  type CommandChannels,
  type Outcome,
  outcomeStatus,
  outcomeText,
  parseTerminalSize,
  SizeQueue,
} from './command-channels.ts';

const Channel = { STDIN: 0, STDOUT: 1, STDERR: 2, ERROR: 3, RESIZE: 4, CLOSE: 255 } as const;

/** In our order of preference. An old client may offer none. */
const PROTOCOLS: Readonly<Record<string, { base64: boolean; status: boolean }>> = {
  'v5.channel.k8s.io': { base64: false, status: true },
  'v4.channel.k8s.io': { base64: false, status: true },
  'v4.base64.channel.k8s.io': { base64: true, status: true },
  'channel.k8s.io': { base64: false, status: false },
  'base64.channel.k8s.io': { base64: true, status: false },
};
const UNNAMED = { base64: false, status: false };

const MAX_MESSAGE_BYTES = 1024 * 1024;
const NORMAL = 1000;

/** A WebSocket connection after the handshake. */
export interface AcceptedWebSocket {
  socket: WebSocket;
  /** Empty if the client offered none. */
  protocol: string;
}

/** Accepts the upgrade. Resolves to undefined, after an error response, if the client offers no protocol known here. */
export function acceptWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  supported: readonly string[],
): Promise<AcceptedWebSocket | undefined> {
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((text) => text.trim());
  const named = offered.filter((text) => text !== '' && !text.startsWith('base64url.bearer.'));
  const protocol = named.length === 0 ? '' : supported.find((name) => named.includes(name));
  if (protocol === undefined) {
    socket.end('HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\nno protocol in common\n');
    return Promise.resolve(undefined);
  }
  const server = new WebSocketServer({ noServer: true, clientTracking: false, maxPayload: MAX_MESSAGE_BYTES });
  // Not through `ws`: it accepts only tokens (RFC 6455 §4.1), and some of Kubernetes' protocol names contain a slash.
  delete request.headers['sec-websocket-protocol'];
  server.on('headers', (lines: string[]) => {
    if (protocol !== '') lines.push(`Sec-WebSocket-Protocol: ${protocol}`);
  });
  return new Promise((resolve) => {
    server.handleUpgrade(request, socket, head, (accepted) => resolve({ socket: accepted, protocol }));
  });
}

/** Undefined if there is no common protocol. */
export async function webSocketChannels(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  wanted: ChannelRequest,
): Promise<CommandChannels | undefined> {
  const accepted = await acceptWebSocket(request, socket, head, Object.keys(PROTOCOLS));
  return accepted && new WebSocketChannels(accepted, wanted);
}

class WebSocketChannels implements CommandChannels {
  readonly stdin: Readable | undefined;
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  private readonly socket: WebSocket;
  private readonly kind: { base64: boolean; status: boolean };
  private readonly sizes = new SizeQueue();
  private readonly leaving = new AbortController();

  constructor({ socket, protocol }: AcceptedWebSocket, wanted: ChannelRequest) {
    this.socket = socket;
    this.kind = PROTOCOLS[protocol] ?? UNNAMED;
    const output = (channel: number) =>
      new Writable({ write: (bytes, _, done) => this.send(channel, bytes as Buffer, done) });
    this.stdin = wanted.stdin ? new Readable({ read: () => socket.resume() }) : undefined;
    this.stdout = wanted.stdout ? output(Channel.STDOUT) : undefined;
    this.stderr = wanted.stderr && !wanted.tty ? output(Channel.STDERR) : undefined;
    socket.on('message', (message: Buffer) => this.receive(message));
    socket.on('close', () => this.lose());
    socket.on('error', () => this.lose());
    // Signals that the channels are ready (apiserver, wsstream: an empty message on the first writable channel).
    const first = wanted.stdout ? Channel.STDOUT : wanted.stderr ? Channel.STDERR : Channel.ERROR;
    this.send(first, Buffer.alloc(0), () => {});
  }

  get gone(): AbortSignal {
    return this.leaving.signal;
  }

  onResize(listener: Parameters<CommandChannels['onResize']>[0]): void {
    this.sizes.listen(listener);
  }

  async finish(outcome: Outcome): Promise<void> {
    const text = this.kind.status ? JSON.stringify(outcomeStatus(outcome)) : outcomeText(outcome);
    if (text !== '') await new Promise<void>((resolve) => this.send(Channel.ERROR, Buffer.from(text), () => resolve()));
    this.socket.close(NORMAL);
  }

  private receive(message: Buffer): void {
    if (message.length === 0) return;
    const channel = this.kind.base64 ? message[0]! - 0x30 : message[0]!;
    const content = this.kind.base64
      ? Buffer.from(message.toString('latin1', 1), 'base64')
      : Buffer.from(message.subarray(1));
    if (channel === Channel.RESIZE) this.sizes.push(parseTerminalSize(content.toString()));
    else if (channel === Channel.CLOSE && content[0] === Channel.STDIN) this.stdin?.push(null);
    else if (channel === Channel.STDIN && content.length > 0 && this.stdin?.readableEnded === false) {
      // The reader is slower than the client: pause the connection.
      if (!this.stdin.push(content)) this.socket.pause();
    }
  }

  private send(channel: number, bytes: Buffer, done: (error?: Error | null) => void): void {
    // A failed send is ignored: the close event cleans up.
    const sent = () => done();
    if (this.socket.readyState !== this.socket.OPEN) sent();
    else if (this.kind.base64) this.socket.send(String(channel) + bytes.toString('base64'), sent);
    else this.socket.send(Buffer.concat([Buffer.from([channel]), bytes]), sent);
  }

  private lose(): void {
    if (this.leaving.signal.aborted) return;
    this.leaving.abort();
    this.stdin?.push(null);
  }
}
