/**
 * Connections of a client into a pod's network namespace, including services that listen only on the pod's 127.0.0.1.
 * Each is a pair of streams, data and error, over SPDY/3.1 (kubelet,
 * pkg/kubelet/cri/streaming/portforward/httpstream.go), which newer clients carry inside a WebSocket; or, for older
 * clients, channels of a WebSocket (websocket.go there).
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, type WebSocket } from 'ws';
import { connectToLoopback } from '../../linux/connect.ts';
import { Reset, SpdySession, type SpdyStream } from './spdy/session.ts';
import { acceptSpdy } from './spdy-channels.ts';
import { acceptWebSocket } from './web-socket-channels.ts';

const PORT_FORWARD = 'portforward.k8s.io';
const TUNNELED = `SPDY/3.1+${PORT_FORWARD}`;
const CHANNELS = 'v4.channel.k8s.io';
/** A stream whose pair does not arrive within this time is reset (DefaultStreamCreationTimeout). */
const PAIR_MS = 30_000;
const MAX_PORTS = 64;

/** Opens connections to a port of the pod. */
export type Dial = (port: number) => Socket;

/** Reaches programs that listen on the pod's loopback, too. */
export const dialPod =
  (netnsPath: string): Dial =>
  (port) =>
    connectToLoopback(netnsPath, port);

/** Serve port-forward over SPDY/3.1 until the connection ends. @param dial opens connections to the pod */
export function portForwardOverSpdy(request: IncomingMessage, socket: Duplex, dial: Dial): Promise<void> {
  if (acceptSpdy(request, socket, [PORT_FORWARD]) === undefined) return Promise.resolve();
  return serveSpdy(socket, dial);
}

/** @param ports from the query, for clients that specify them there */
export async function portForwardOverWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  dial: Dial,
  ports: readonly number[],
): Promise<void> {
  const accepted = await acceptWebSocket(request, socket, head, [TUNNELED, CHANNELS]);
  if (accepted === undefined) return;
  if (accepted.protocol === TUNNELED) await serveSpdy(createWebSocketStream(accepted.socket), dial);
  else serveChannels(accepted.socket, dial, ports.slice(0, MAX_PORTS));
}

interface Pair {
  data?: SpdyStream;
  error?: SpdyStream;
  timer: NodeJS.Timeout;
}

function serveSpdy(transport: Duplex, dial: Dial): Promise<void> {
  const pairs = new Map<string, Pair>();
  transport.on('error', () => {});
  const session = new SpdySession(transport, (stream) => {
    const type = stream.headers.get('streamtype');
    const port = Number(stream.headers.get('port'));
    if ((type !== 'data' && type !== 'error') || !isPort(port)) return stream.reset(Reset.REFUSED_STREAM);
    // Clients that send no request id open the error stream first and the data stream right after it.
    const id = stream.headers.get('requestid') ?? String(type === 'error' ? stream.id : stream.id - 2);
    const pair: Pair = pairs.get(id) ?? { timer: setTimeout(() => giveUp(id), PAIR_MS) };
    pairs.set(id, pair);
    if (pair[type] !== undefined) return stream.reset(Reset.REFUSED_STREAM);
    pair[type] = stream;
    stream.accept();
    if (pair.data === undefined || pair.error === undefined) return;
    clearTimeout(pair.timer);
    pairs.delete(id);
    forward(pair.data, pair.error, port, dial);
  });
  const giveUp = (id: string) => {
    const pair = pairs.get(id);
    pairs.delete(id);
    pair?.data?.destroy();
    pair?.error?.destroy();
  };
  return session.run().finally(() => {
    for (const { timer } of pairs.values()) clearTimeout(timer);
  });
}

const isPort = (port: number): boolean => Number.isInteger(port) && port >= 1 && port <= 65535;

function forward(data: SpdyStream, error: SpdyStream, port: number, dial: Dial): void {
  error.resume(); // The client closes its half at once; anything it sends is meaningless.
  join(data, port, dial, (failure) => {
    if (failure !== undefined && !error.destroyed) error.end(`error forwarding port ${port} to pod: ${failure}`);
    else error.end();
  });
}

/** Copies in both directions until both have ended; `done` is called once, with the error if there was one. */
function join(data: Duplex, port: number, dial: Dial, done: (failure: string | undefined) => void): void {
  let socket: Socket;
  try {
    socket = dial(port);
  } catch (error) {
    done((error as Error).message);
    data.destroy();
    return;
  }
  let over = false;
  const end = (failure?: string) => {
    if (over) return;
    over = true;
    done(failure);
  };
  socket.on('error', (error: NodeJS.ErrnoException) => {
    end(error.code === 'ECONNREFUSED' ? `connect: connection refused` : error.message);
    data.destroy();
  });
  data.on('error', () => socket.destroy());
  data.on('close', () => {
    if (!data.readableEnded) socket.destroy();
  });
  socket.on('close', () => {
    end();
    if (!data.writableFinished && !data.writableEnded) data.end();
  });
  data.pipe(socket);
  socket.pipe(data);
}

/** Two channels per port: data on 2i, error on 2i+1. The first message of each is the port, little endian. */
function serveChannels(connection: WebSocket, dial: Dial, ports: readonly number[]): void {
  const sockets: (Socket | undefined)[] = [];
  const send = (channel: number, bytes: Buffer, sent?: () => void) => {
    if (connection.readyState === connection.OPEN)
      connection.send(Buffer.concat([Buffer.from([channel]), bytes]), sent);
  };
  for (const [i, port] of ports.entries()) {
    const number = Buffer.alloc(2);
    number.writeUInt16LE(port);
    send(2 * i, number);
    send(2 * i + 1, number);
    const failed = (error: Error) =>
      send(2 * i + 1, Buffer.from(`error forwarding port ${port} to pod: ${error.message}`));
    try {
      const socket = dial(port);
      sockets[i] = socket;
      socket.on('error', failed);
      socket.on('data', (chunk: Buffer) => {
        socket.pause();
        send(2 * i, chunk, () => socket.resume());
      });
      socket.on('end', () => {
        if (sockets.every((each) => each === undefined || each.readableEnded)) connection.close(1000);
      });
    } catch (error) {
      failed(error as Error);
    }
  }
  connection.on('message', (message: Buffer) => {
    const socket = sockets[message[0]! / 2];
    if (socket === undefined || message.length < 2 || socket.write(Buffer.from(message.subarray(1)))) return;
    connection.pause();
    socket.once('drain', () => connection.resume());
  });
  const lose = () => {
    for (const socket of sockets) socket?.destroy();
  };
  connection.on('close', lose);
  connection.on('error', lose);
}
