/** Where the events of a watch go: a response whose lines they are, or a WebSocket whose messages they are. */
import type { ServerResponse } from 'node:http';
import type { WebSocket } from 'ws';

export interface WatchSink {
  /** The request is accepted. */
  open(): void;
  /** False: the client reads too slowly; `onDrain` calls back. */
  send(events: readonly string[]): boolean;
  end(): void;
  onDrain(callback: () => void): void;
  onClose(callback: () => void): void;
}

export function responseSink(response: ServerResponse): WatchSink {
  return {
    open() {
      response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
      response.flushHeaders();
    },
    send: (events) => response.write(events.join('')),
    end: () => void response.end(),
    onDrain: (callback) => void response.on('drain', callback),
    onClose: (callback) => void response.on('close', callback),
  };
}

/** Bytes a WebSocket may have unsent before its watch waits. */
const MAX_BUFFERED = 256 * 1024;

/** Browsers and dashboards watch like this: one text message per event (apiserver/pkg/endpoints/handlers/watch.go). */
export function webSocketSink(socket: WebSocket): WatchSink {
  let drained = () => {};
  return {
    open() {},
    send(events) {
      for (const event of events.slice(0, -1)) socket.send(event);
      // All of them have left with the last.
      socket.send(events.at(-1)!, () => drained());
      return socket.bufferedAmount < MAX_BUFFERED;
    },
    end: () => socket.close(1000),
    onDrain(callback) {
      drained = callback;
    },
    onClose: (callback) => void socket.on('close', callback),
  };
}
