/**
 * The API over HTTP: on a unix socket, which root alone may open, and over TLS for everybody else. Who asks and whether
 * that is allowed is settled here, before anything of the request is looked at; Kubernetes' paths, verbs, media types and
 * Status errors are `exchange.ts`.
 */
import { chmodSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { connect, type Socket } from 'node:net';
import { authenticate, impersonate, type VerifyToken } from '../access/authentication.ts';
import { type Authorize, actionOf, authorizer } from '../access/authorization.ts';
import { ROOT_USER, type User } from '../access/user.ts';
import { ApiError, forbiddenAction, internalError } from '../errors.ts';
import type { Registry } from '../store/registry.ts';
import { Exchange } from './exchange.ts';

/** An address to bind, or the descriptor of a socket that listens already. */
export type ListenAddress = { host: string; port: number } | { fd: number };

export interface TlsIdentity {
  /** PEM. */
  certificate: string;
  key: string;
  /** Clients' certificates are checked against it. */
  authority: string;
}

export interface ApiServerOptions {
  socketPath: string;
  /** Served over TLS. */
  secure?: { identity: TlsIdentity; addresses: readonly ListenAddress[] };
  /** Served in the clear, to everybody, with all rights. */
  insecure?: { host: string; port: number };
  verifyToken?: VerifyToken;
  authorize?: Authorize;
}

export interface ApiServer {
  /** Ports of `secure.addresses`, in their order. */
  readonly securePorts: readonly number[];
  /** Port of `insecure`. */
  readonly insecurePort: number | undefined;
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

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** Serves until closed. */
export async function startApiServer(registry: Registry, options: ApiServerOptions): Promise<ApiServer> {
  await claimSocket(options.socketPath);
  const streams = new Set<() => void>();
  const authorize = options.authorize ?? authorizer();
  const serve = (request: IncomingMessage, response: ServerResponse, user: User) => {
    const asked = impersonate(request, user, authorize);
    const action = actionOf(request.method ?? 'GET', request.url ?? '/');
    const decision = authorize(asked, action);
    if (!decision.allowed) throw forbiddenAction(asked.name, action, decision.reason);
    new Exchange(registry, streams, request, response).run();
  };
  const byRoot: Handler = (request, response) => {
    try {
      serve(request, response, ROOT_USER);
    } catch (error) {
      refuse(response, error);
    }
  };
  const byAnybody: Handler = (request, response) => {
    authenticate(request, options.verifyToken)
      .then((user) => serve(request, response, user))
      .catch((error: unknown) => refuse(response, error));
  };
  const { secure, insecure } = options;
  const servers: Server[] = [];
  const start = async (handler: Handler, where: object, identity?: TlsIdentity): Promise<number> => {
    const server = await listen(handler, where, identity);
    servers.push(server);
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  };
  const close = async () => {
    for (const end of streams) end();
    await Promise.all(servers.map(stop));
  };
  try {
    await start(byRoot, { path: options.socketPath });
    chmodSync(options.socketPath, 0o600);
    const securePorts: number[] = [];
    for (const where of secure?.addresses ?? []) securePorts.push(await start(byAnybody, where, secure!.identity));
    return { securePorts, insecurePort: insecure && (await start(byRoot, insecure)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Answers with the Status of an error. */
function refuse(response: ServerResponse, error: unknown): void {
  const { code, status } = error instanceof ApiError ? error : internalError((error as Error).message);
  const text = JSON.stringify(status);
  if (code === 401) response.setHeader('www-authenticate', 'Bearer realm="kubernetes"');
  response.writeHead(code, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

function listen(handler: Handler, where: object, identity: TlsIdentity | undefined): Promise<Server> {
  // Node's limits would end watches after five minutes and idle connections after five seconds, a race for every POST.
  const limits = { requestTimeout: 0, keepAliveTimeout: 600_000, noDelay: true };
  const server =
    identity === undefined
      ? createHttpServer(limits, handler)
      : createHttpsServer(
          {
            ...limits,
            cert: identity.certificate,
            key: identity.key,
            ca: identity.authority,
            minVersion: 'TLSv1.2',
            requestCert: true,
            // A certificate that is not ours identifies nobody; the connection itself may be used.
            rejectUnauthorized: false,
          },
          handler,
        );
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
