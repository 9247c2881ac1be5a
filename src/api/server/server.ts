/**
 * The API over HTTP: on a unix socket that only root can open, and over TLS for all other clients. Requests are
 * authenticated and authorized here before anything else; Kubernetes' paths, verbs, media types and Status errors are
 * in `exchange.ts`.
 */
import { chmodSync, rmSync } from 'node:fs';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { authenticate, impersonate } from '../access/authentication.ts';
import { type Action, type Authorize, actionOf, authorizer } from '../access/authorization.ts';
import { bootstrapUser } from '../access/bootstrap-tokens.ts';
import { machineMay } from '../access/machines.ts';
import { type RulesOf, rulesWithoutRbac } from '../access/rbac.ts';
import type { TokenIssuer } from '../access/service-account-tokens.ts';
import { ROOT_USER, type User } from '../access/user.ts';
import { ApiError, forbiddenAction, internalError, noSuchPath } from '../errors.ts';
import { AgentUsage, type UsageSource } from '../metrics/usage.ts';
import type { Registry } from '../store/registry.ts';
import { replyJson, replyText } from './call.ts';
import { Exchange } from './exchange.ts';
import { type AgentSocket, PodProxy } from './pod-proxy.ts';
import { observeRequest, type RequestObserver } from './request-observer.ts';
import { serveMetrics } from './resource-metrics.ts';
import { Reviews } from './reviews.ts';
import { upgradeToWatch } from './watch-upgrade.ts';

/** An address to bind, or the descriptor of a socket that is already listening. */
export type ListenAddress = { host: string; port: number } | { fd: number };

export interface TlsIdentity {
  /** PEM. */
  certificate: string;
  key: string;
  /** PEM; client certificates are verified against it. */
  authority: string;
}

export interface ApiServerOptions {
  socketPath: string;
  /** Served over TLS. */
  secure?: { identity: TlsIdentity; addresses: readonly ListenAddress[] };
  /** Plain HTTP without authentication; every client may do everything. */
  insecure?: { host: string; port: number };
  /** Default: authenticated users may do everything, except machines. */
  authorize?: Authorize;
  rulesOf?: RulesOf;
  /** Issues and verifies service account tokens. */
  tokens?: TokenIssuer;
  /** Usage of nodes and pods; default: nothing is measured. */
  usage?: UsageSource;
  /** How to reach the nodes' agents, for logs, exec and the like. */
  agentSocket?: AgentSocket;
  /** Counts requests, and has the text of /metrics. */
  observer?: RequestObserver;
}

export interface ApiServer {
  /** Ports of `secure.addresses`, in their order. */
  readonly securePorts: readonly number[];
  /** Port of `insecure`. */
  readonly insecurePort: number | undefined;
  close(): Promise<void>;
}

/** Another process is listening on the socket. */
class SocketInUseError extends Error {
  override readonly name = 'SocketInUseError';
  readonly code = 'EADDRINUSE';
}

/** Throws SocketInUseError if a process is listening on `socketPath`; removes a socket that no process listens on. */
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

/** Where a request was received: the socket that only root can open, or an address that requires credentials. */
type Door = 'root' | 'anybody';

interface Handlers {
  request(request: IncomingMessage, response: ServerResponse): Promise<void>;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void>;
}

/** Starts the server; it runs until closed. */
export async function startApiServer(registry: Registry, options: ApiServerOptions): Promise<ApiServer> {
  await claimSocket(options.socketPath);
  const streams = new Set<() => void>();
  const { store } = registry;
  const machines = (user: User, action: Action) => machineMay(store, user, action);
  const authorize = authorizer({ machines, further: options.authorize });
  const { tokens, rulesOf = rulesWithoutRbac, observer } = options;
  const reviews = new Reviews({ store: registry.store, authorize, rulesOf, tokens });
  const proxy = new PodProxy(registry.store, options.agentSocket ?? (() => undefined));
  const usage = options.usage ?? new AgentUsage(registry.store, () => undefined);
  const check = (request: IncomingMessage, user: User) => {
    const asked = impersonate(request, user, authorize);
    const action = actionOf(request.method ?? 'GET', request.url ?? '/');
    const decision = authorize(asked, action);
    if (!decision.allowed) throw forbiddenAction(asked.name, action, decision.reason);
    return asked;
  };
  const identify: Record<Door, (request: IncomingMessage) => Promise<User> | User> = {
    root: () => ROOT_USER,
    anybody: (request) =>
      authenticate(request, async (token) => bootstrapUser(store, token, Date.now()) ?? tokens?.verify(token)),
  };
  const handlers = (door: Door): Handlers => ({
    async request(request, response) {
      if (observer !== undefined) observeRequest(observer, registry.kinds, request, response);
      try {
        const user = check(request, await identify[door](request));
        if (proxy.serve(request, response) || (await reviews.serve(request, response, user))) return;
        if (await serveMetrics(request, response, usage)) return;
        if (observer !== undefined && request.method === 'GET' && request.url?.split('?', 1)[0] === '/metrics') {
          const { type, text } = await observer.expose();
          return replyText(response, 200, text, type);
        }
        const document = request.method === 'GET' ? reviews.document(request.url ?? '') : undefined;
        if (document !== undefined) replyJson(response, 200, JSON.stringify(document));
        else {
          const may = (action: Action) => authorize(user, action).allowed;
          new Exchange(registry, streams, request, response, { user, may }).run();
        }
      } catch (error) {
        refuse(response, error);
      }
    },
    async upgrade(request, socket, head) {
      socket.on('error', () => socket.destroy());
      try {
        check(request, await identify[door](request));
        const taken = proxy.upgrade(request, socket, head) || upgradeToWatch(registry, streams, request, socket, head);
        if (!taken) throw noSuchPath(request.url ?? '');
      } catch (error) {
        refuseUpgrade(socket, error);
      }
    },
  });
  const { secure, insecure } = options;
  const servers: Server[] = [];
  const upgraded = new Set<Duplex>();
  const start = async (door: Door, where: object, identity?: TlsIdentity): Promise<number> => {
    const server = await listen(handlers(door), where, identity);
    server.on('upgrade', (_request, socket: Duplex) => {
      upgraded.add(socket);
      socket.once('close', () => upgraded.delete(socket));
    });
    servers.push(server);
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  };
  const close = async () => {
    for (const end of streams) end();
    for (const socket of upgraded) socket.destroy();
    await Promise.all(servers.map(stop));
  };
  try {
    await start('root', { path: options.socketPath });
    chmodSync(options.socketPath, 0o600);
    const securePorts: number[] = [];
    for (const where of secure?.addresses ?? []) securePorts.push(await start('anybody', where, secure!.identity));
    return { securePorts, insecurePort: insecure && (await start('root', insecure)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

const asApiError = (error: unknown): ApiError =>
  error instanceof ApiError ? error : internalError((error as Error).message);

/** Sends the Status of an error. */
function refuse(response: ServerResponse, error: unknown): void {
  const { code, status } = asApiError(error);
  const text = JSON.stringify(status);
  if (code === 401) response.setHeader('www-authenticate', CHALLENGE);
  response.writeHead(code, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

/** The same for an upgrade request: Node has detached the connection, so the response is written as text. */
function refuseUpgrade(socket: Duplex, error: unknown): void {
  const { code, status } = asApiError(error);
  const text = JSON.stringify(status);
  const head = [
    `HTTP/1.1 ${code} ${STATUS_CODES[code] ?? ''}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(text)}`,
    'connection: close',
    ...(code === 401 ? [`www-authenticate: ${CHALLENGE}`] : []),
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`);
}

const CHALLENGE = 'Bearer realm="kubernetes"';

/** Detects clients that disappeared without closing, so that their connections and watches are freed. */
const KEEP_ALIVE = { keepAlive: true, keepAliveInitialDelay: 10_000 };

function listen(handlers: Handlers, where: object, identity: TlsIdentity | undefined): Promise<Server> {
  // Node's defaults would end watches after five minutes, and idle connections after five seconds, which races with
  // every POST on a pooled connection.
  const limits = { requestTimeout: 0, keepAliveTimeout: 600_000, noDelay: true, ...KEEP_ALIVE };
  const server =
    identity === undefined
      ? createHttpServer(limits, handlers.request)
      : createHttpsServer(
          {
            ...limits,
            cert: identity.certificate,
            key: identity.key,
            ca: identity.authority,
            minVersion: 'TLSv1.2',
            requestCert: true,
            // A client certificate of another CA is ignored: the client is anonymous unless it sends a token.
            rejectUnauthorized: false,
          },
          handlers.request,
        );
  server.on('upgrade', handlers.upgrade);
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
