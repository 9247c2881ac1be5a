/**
 * The API over HTTP, on a unix socket and, if asked, a TCP address. Kubernetes' paths, verbs, media types and Status
 * errors: `exchange.ts`.
 *
 * There is no authentication: whoever may open the socket (mode 0600, so root) may do everything.
 */
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Registry } from '../store/registry.ts';
import { Exchange } from './exchange.ts';

export interface ApiServerOptions {
  socketPath: string;
  /** Also listen on this address, unprotected. */
  tcp?: { host: string; port: number };
}

export interface ApiServer {
  /** Port of the TCP listener, when there is one. */
  readonly tcpPort: number | undefined;
  close(): Promise<void>;
}

/** Another process answers on the socket. */
export class SocketInUseError extends Error {
  override readonly name = 'SocketInUseError';
  readonly code = 'EADDRINUSE';
}

/** Throws SocketInUseError when somebody answers on `socketPath`; removes a socket nobody listens on. */
export async function claimSocket(socketPath: string): Promise<void> {
  const alive = await new Promise<boolean>((resolve) => {
    const probe: Socket = connect(socketPath);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
  if (alive) throw new SocketInUseError(`${socketPath}: a controller is already running there`);
  rmSync(socketPath, { force: true });
}

/** Serves until closed. */
export async function startApiServer(registry: Registry, options: ApiServerOptions): Promise<ApiServer> {
  await claimSocket(options.socketPath);
  const streams = new Set<() => void>();
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    new Exchange(registry, streams, request, response).run();
  };
  const servers = [await listen(handle, { path: options.socketPath })];
  chmodSync(options.socketPath, 0o600);
  if (options.tcp) servers.push(await listen(handle, options.tcp));
  const address = servers[1]?.address();
  return {
    tcpPort: typeof address === 'object' && address !== null ? address.port : undefined,
    close: async () => {
      for (const end of streams) end();
      await Promise.all(servers.map(stop));
    },
  };
}

function listen(handle: (q: IncomingMessage, s: ServerResponse) => void, where: object): Promise<Server> {
  // Node's limits would end watches after five minutes and idle connections after five seconds, a race for every POST.
  const server = createServer({ requestTimeout: 0, keepAliveTimeout: 600_000, noDelay: true }, handle);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => resolve(server));
  });
}

function stop(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), 200).unref();
  });
}
