/** The output of a watch: one line or frame per event in a response, or one message per event on a WebSocket. */
import type { ServerResponse } from 'node:http';
import type { WebSocket } from 'ws';
import type { Output } from './render.ts';

export interface WatchSink {
  /** Sends the response head: the watch is accepted. @param mediaType of the events */
  open(mediaType: string): void;
  /** Sends events. False: the client reads too slowly; wait for `onDrain`. */
  send(events: readonly Output[]): boolean;
  end(): void;
  onDrain(callback: () => void): void;
  onClose(callback: () => void): void;
}

export function responseSink(response: ServerResponse): WatchSink {
  return {
    open(mediaType) {
      response.writeHead(200, { 'content-type': mediaType, 'cache-control': 'no-cache, private' });
      response.flushHeaders();
    },
    send: (events) =>
      response.write(typeof events[0] === 'string' ? events.join('') : Buffer.concat(events as readonly Uint8Array[])),
    end: () => void response.end(),
    onDrain: (callback) => void response.on('drain', callback),
    onClose: (callback) => void response.on('close', callback),
  };
}

/** Unsent bytes of a WebSocket above which its watch pauses. */
const MAX_BUFFERED = 256 * 1024;

/** For browsers and dashboards: one message per event (apiserver/pkg/endpoints/handlers/watch.go). */
export function webSocketSink(socket: WebSocket): WatchSink {
  let drained = () => {};
  return {
    open() {},
    send(events) {
      for (const event of events.slice(0, -1)) socket.send(event);
      // The callback of the last message: by then all have been written.
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
