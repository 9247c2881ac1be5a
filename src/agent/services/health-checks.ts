/**
 * HTTP ports of a node for load balancers and monitors, as kube-proxy serves them: a health-check port for each Service
 * with `externalTrafficPolicy: Local`, and the proxy's own /healthz, /livez, /proxyMode and /metrics.
 *
 * Read before editing: kubernetes pkg/proxy/healthcheck/service_health.go and proxy_health.go.
 */
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { limitConnections } from '../../net/connection-limits.ts';
import type { Expose } from '../../observe/metrics/exposition.ts';
import type { HealthCheck } from './service-sync.ts';

/** kube-proxy's --healthz-bind-address and --metrics-bind-address. */
const HEALTHZ_PORT = 10256;
const METRICS_PORT = 10249;
const LOOPBACK = '127.0.0.1';
const TEXT = 'text/plain; charset=utf-8';
/**
 * Load balancers and monitors hold a handful of connections each; more than this, from one client or in total, would
 * use up the descriptors that the agent needs for the node's pods.
 */
const LIMITS = { total: 128, perAddress: 16 };
/** A client that has not sent a complete request within this time, or is idle between two, is disconnected. */
const REQUEST_MS = 5000;
const IDLE_MS = 5000;
/** If another process has the port: time until the next attempt to listen. */
const RETRY_MS = 5000;

/** What the health checks report. */
export interface HealthChecksOptions {
  /** Required health-check ports, and the state of their Services. */
  readonly checks: () => HealthCheck[];
  /** Is this node forwarding? */
  readonly healthy: () => boolean;
  /** Is this node being deleted? Load balancers should send it no new connections then (KEP-3836). */
  readonly leaving: () => boolean;
  /** The text of /metrics. */
  readonly metrics: Expose;
  readonly log: (line: string) => void;
}

interface Open {
  readonly server: Server;
  check: HealthCheck;
}

/** The HTTP servers of a node. */
export class HealthChecks {
  private readonly options: HealthChecksOptions;
  private readonly open = new Map<number, Open>();
  private readonly ended = new WeakSet<Server>();
  private readonly own: Server[];
  private refreshing = false;
  private closed = false;

  constructor(options: HealthChecksOptions) {
    this.options = options;
    this.own = [
      this.serve(HEALTHZ_PORT, '0.0.0.0', (request, response) => this.answerHealthz(request, response)),
      this.serve(METRICS_PORT, LOOPBACK, (request, response) => void this.answerMetrics(request, response)),
    ];
  }

  /** Services changed: open the required ports and close the others, soon, and once for many changes. */
  refresh(): void {
    if (this.refreshing) return;
    this.refreshing = true;
    setImmediate(() => {
      this.refreshing = false;
      if (!this.closed) this.update();
    });
  }

  private update(): void {
    const wanted = new Map(this.options.checks().map((check) => [check.port, check]));
    for (const [port, { server }] of this.open) {
      if (wanted.has(port)) continue;
      this.open.delete(port);
      this.end(server);
    }
    for (const [port, check] of wanted) {
      const known = this.open.get(port);
      if (known) known.check = check;
      else {
        const server = this.serve(port, '0.0.0.0', (request, response) => this.answerService(port, request, response));
        this.open.set(port, { server, check });
      }
    }
  }

  close(): void {
    this.closed = true;
    for (const { server } of this.open.values()) this.end(server);
    for (const server of this.own) this.end(server);
  }

  /** If another process has the port, that is logged, and the agent continues. */
  private serve(port: number, host: string, listener: RequestListener): Server {
    const server = createServer(
      {
        connectionsCheckingInterval: 1000,
        headersTimeout: REQUEST_MS,
        requestTimeout: REQUEST_MS,
        keepAliveTimeout: IDLE_MS,
      },
      listener,
    );
    limitConnections(server, LIMITS);
    const listen = (): void => {
      if (!this.ended.has(server)) server.listen({ port, host, exclusive: true }).unref();
    };
    let logged = '';
    server.on('error', ({ message }) => {
      if (message !== logged) this.options.log(`health checks on port ${port}: ${message}`);
      logged = message;
      setTimeout(listen, RETRY_MS).unref();
    });
    listen();
    return server;
  }

  private end(server: Server): void {
    this.ended.add(server);
    server.close();
    server.closeAllConnections();
  }

  private answerService(port: number, request: IncomingMessage, response: ServerResponse): void {
    const check = this.open.get(port)?.check;
    const localEndpoints = check?.readyEndpoints ?? 0;
    const serviceProxyHealthy = this.options.healthy();
    const status = localEndpoints > 0 && serviceProxyHealthy ? 200 : 503;
    response.setHeader('X-Load-Balancing-Endpoint-Weight', localEndpoints);
    const service = { namespace: check?.namespace ?? '', name: check?.name ?? '' };
    answerJson(request, response, status, { service, localEndpoints, serviceProxyHealthy });
  }

  private answerHealthz(request: IncomingMessage, response: ServerResponse): void {
    const path = pathOf(request);
    if (path !== '/healthz' && path !== '/livez') {
      answerNotFound(response);
      return;
    }
    const { healthy, leaving } = this.options;
    const now = new Date().toISOString();
    const nodeEligible = !leaving();
    const alive = healthy();
    const body = { lastUpdated: now, currentTime: now };
    if (path === '/livez') answerJson(request, response, alive ? 200 : 503, body);
    else answerJson(request, response, alive && nodeEligible ? 200 : 503, { ...body, nodeEligible });
  }

  private async answerMetrics(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = pathOf(request);
    if (path === '/proxyMode') {
      response.writeHead(200, { 'content-type': TEXT }).end('dataplane');
    } else if (path === '/metrics') {
      try {
        const { type, text } = await this.options.metrics();
        response.writeHead(200, { 'content-type': type }).end(text);
      } catch (error) {
        response.writeHead(500, { 'content-type': TEXT }).end(`${(error as Error).message}\n`);
      }
    } else answerNotFound(response);
  }
}

function answerJson(request: IncomingMessage, response: ServerResponse, status: number, body: object): void {
  const headers = { 'content-type': 'application/json', 'x-content-type-options': 'nosniff' };
  response.writeHead(status, headers);
  response.end(request.method === 'HEAD' ? undefined : `${JSON.stringify(body)}\n`);
}

function answerNotFound(response: ServerResponse): void {
  response.writeHead(404, { 'content-type': TEXT }).end('404 page not found\n');
}

/** Path of a request, without its query. */
const pathOf = ({ url = '/' }: IncomingMessage): string => url.split('?', 1)[0] as string;
