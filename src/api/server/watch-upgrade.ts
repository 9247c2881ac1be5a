/** A watch over a WebSocket, as opened by browsers and dashboards: GET with an upgrade, one message per event. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { Registry } from '../store/registry.ts';
import type { Call } from './call.ts';
import { readListOptions } from './query.ts';
import { watch } from './reads.ts';
import { parseResourcePath } from './request-path.ts';
import { webSocketSink } from './watch-sink.ts';

/** Clients send only control frames. */
const server = new WebSocketServer({ noServer: true, maxPayload: 1024 });

/** Takes the connection over if the request is a watch; false otherwise. @throws ApiError before taking it over */
export function upgradeToWatch(
  registry: Registry,
  streams: Set<() => void>,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): boolean {
  const url = request.url ?? '/';
  const mark = url.indexOf('?');
  const target = parseResourcePath(mark < 0 ? url : url.slice(0, mark), registry.kinds);
  const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
  if (target === undefined || target.subresource !== undefined || !query.has('watch')) return false;
  const options = readListOptions(query);
  if (!options.watch) return false;
  const call: Call = { registry, streams, request, response: NO_RESPONSE, target, query };
  // Errors in the request are thrown before the connection is taken over.
  const start = watch(call, options);
  server.handleUpgrade(request, socket, head, (client) => {
    client.on('error', () => client.terminate());
    start(webSocketSink(client));
  });
  return true;
}

/** The handlers of a watch write to its sink only. */
const NO_RESPONSE = undefined as unknown as ServerResponse;
