/** HTTP servers and requests of the subcommands. */
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import { fatal } from './log.ts';
import { describeError } from './network-error.ts';

export type Handler = (request: HttpRequest, response: ServerResponse) => void | Promise<void>;

export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  /** The query, and the fields of a form in the body. */
  readonly form: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  readonly socket: Socket;
}

const MAX_BODY_BYTES = 64 * 1024 * 1024;

/** `10.244.1.2:40000`, `[fd00::2]:40000`: without the prefix of IPv4 addresses on a socket for both families. */
export function remoteAddress({ remoteAddress: address = '', remotePort }: Socket): string {
  return hostPort(address.replace(/^::ffff:/, ''), remotePort ?? 0);
}

export const hostPort = (host: string, port: number | string): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

/** Serves on every address, and exits if the port cannot be had. Unknown paths are handled by `/`, as in Go. */
export function serveHttp(
  port: number | string,
  handlers: Readonly<Record<string, Handler>>,
  tls?: { cert: string | Buffer; key: string | Buffer },
): Server {
  const receive = (incoming: IncomingMessage, response: ServerResponse) => {
    void handle(incoming, response, handlers).catch((error: Error) => {
      if (!response.headersSent) response.writeHead(500);
      response.end(`${error.message}\n`);
    });
  };
  const server = tls === undefined ? createServer(receive) : createTlsServer(tls, receive);
  // Go keeps idle connections open until the client closes them.
  server.keepAliveTimeout = 0;
  const number = Number(port);
  if (!Number.isInteger(number) || number < 0 || number > 65535) fatal(`listen tcp: address ${port}: invalid port`);
  server.on('error', (error: NodeJS.ErrnoException) => fatal(`listen tcp :${port}: bind: ${describeError(error)}`));
  server.listen(number);
  return server;
}

async function handle(
  incoming: IncomingMessage,
  response: ServerResponse,
  handlers: Readonly<Record<string, Handler>>,
): Promise<void> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) {
      response.writeHead(413).end();
      return;
    }
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  const { pathname, searchParams } = new URL(incoming.url ?? '/', 'http://agnhost');
  const form = new URLSearchParams(searchParams);
  if (incoming.headers['content-type']?.startsWith('application/x-www-form-urlencoded')) {
    for (const [name, value] of new URLSearchParams(body.toString())) form.append(name, value);
  }
  const { method = 'GET', headers, socket } = incoming;
  const handler = (Object.hasOwn(handlers, pathname) ? handlers[pathname] : undefined) ?? handlers['/'];
  if (handler === undefined) plainError(response, 404, '404 page not found');
  else await handler({ method, path: pathname, form, headers, body, socket }, response);
}

/** As Go's http.Error. */
export function plainError(response: ServerResponse, code: number, message: string): void {
  response.writeHead(code, { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' });
  response.end(`${message}\n`);
}

/** The body of a GET request, or of a POST with a JSON body, over a connection of its own. @throws Error as Go describes it */
export function fetchText(url: string, timeoutMs: number, json?: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const { hostname, port, pathname, search } = new URL(url);
    const verb = json === undefined ? 'Get' : 'Post';
    const outgoing = request(
      {
        host: hostname.replace(/^\[|\]$/g, ''),
        port: port || 80,
        path: pathname + search,
        method: verb.toUpperCase(),
        headers: { Host: port ? `${hostname}:${port}` : hostname, ...(json && { 'Content-Type': 'application/json' }) },
        agent: false,
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => finish(() => resolve({ status: response.statusCode ?? 0, text })));
        response.on('error', (error) => finish(() => reject(error)));
      },
    );
    const timer = setTimeout(() => {
      outgoing.destroy(new Error('context deadline exceeded (Client.Timeout exceeded while awaiting headers)'));
    }, timeoutMs);
    const finish = (settle: () => void) => {
      clearTimeout(timer);
      settle();
    };
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      const what = error.syscall === 'connect' ? `dial tcp ${hostname}:${port || 80}: connect: ` : '';
      finish(() => reject(new Error(`${verb} ${JSON.stringify(url)}: ${what}${describeError(error)}`)));
    });
    outgoing.end(json);
  });
}
