/**
 * The node's control socket for the CLI: operations that only the running agent can perform. A unix socket that only
 * root may open.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { dirname } from 'node:path';
import type { Duplex } from 'node:stream';
import type { NodeSummary } from '../api/metrics/summary.ts';
import type { PodStreams } from './streams/pod-streams.ts';

/** What a client of the socket can ask the agent to do, besides the streams of pods. */
export interface AgentActions {
  /** Restart one container, or all of a pod. Rejects with a one-line message if there is no such pod or container. */
  restart(namespace: string, pod: string, container: string | undefined): Promise<void>;
  usage(): Promise<NodeSummary>;
}

/**
 * Serve until the returned function is called. POST /restart?namespace=…&pod=…[&container=…]; GET /stats/summary: usage of
 * the node and its pods.
 */
export async function serveAgentControl(
  path: string,
  actions: AgentActions,
  streams: PodStreams,
): Promise<() => Promise<void>> {
  mkdirSync(dirname(path), { recursive: true });
  rmSync(path, { force: true });
  const server = createServer({ requestTimeout: 0 }, (request, response) => {
    if (!streams.serve(request, response)) void answer(request, response, actions);
  });
  const upgraded = new Set<Duplex>();
  const keep = (socket: Duplex): void => {
    upgraded.add(socket);
    socket.once('close', () => upgraded.delete(socket));
  };
  server.on('upgrade', (request, socket, head) => {
    keep(socket);
    streams.upgrade(request, socket, head);
  });
  server.on('connect', (request, socket, head) => {
    keep(socket);
    streams.connect(request, socket, head);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  return async () => {
    server.closeAllConnections();
    for (const socket of upgraded) socket.destroy(); // Node no longer counts them among the server's.
    await new Promise<void>((resolve) => server.close(() => resolve()));
    rmSync(path, { force: true });
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, actions: AgentActions): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://agent');
  const send = (status: number, body: object): void => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  };
  const done = (status: number, message: string): void => send(status, { message });
  if (request.method === 'GET' && url.pathname === '/stats/summary') {
    const measured = await actions.usage().catch((error: Error) => error);
    return measured instanceof Error ? done(500, measured.message) : send(200, measured);
  }
  if (request.method !== 'POST' || url.pathname !== '/restart')
    return done(404, `${request.method} ${url.pathname}: no such action`);
  const pod = url.searchParams.get('pod');
  if (pod === null) return done(400, 'pod is missing');
  try {
    await actions.restart(
      url.searchParams.get('namespace') ?? 'default',
      pod,
      url.searchParams.get('container') ?? undefined,
    );
    done(200, 'restarted');
  } catch (error) {
    done(404, (error as Error).message);
  }
}
