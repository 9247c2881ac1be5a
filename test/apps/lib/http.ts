/** HTTP servers and requests of the example applications. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

export interface Answer {
  status?: number;
  type?: string;
  body: string;
}

export type Route = (request: { url: URL; method: string; body: string }) => Answer | Promise<Answer>;

/**
 * Serves until SIGTERM; then open requests are finished. A route is `GET /cart`; one that is missing is a 404, one that
 * throws a 500 with the message.
 */
export function serveHttp(port: number, routes: Readonly<Record<string, Route>>): void {
  const server = createServer((request, response) => void answer(request, response, routes));
  server.listen(port, '0.0.0.0', () => console.log(`serving HTTP on port ${port}`));
  process.once('SIGTERM', () => {
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  routes: Readonly<Record<string, Route>>,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://here');
  const { method = 'GET' } = request;
  try {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const route = routes[`${method} ${url.pathname}`];
    const {
      status = 200,
      type = 'text/plain',
      body: text,
    } = route ? await route({ url, method, body }) : { status: 404, body: `no page ${url.pathname}\n` };
    response.writeHead(status, { 'Content-Type': `${type}; charset=utf-8` }).end(text);
  } catch (error) {
    console.error(`${method} ${url.pathname}: ${(error as Error).message}`);
    response.writeHead(500).end(`${(error as Error).message}\n`);
  }
}

export const escapeHtml = (text: string): string =>
  text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]!);

/** An environment variable that the manifest must set. */
export function setting(name: string): string {
  const value = process.env[name];
  if (value) return value;
  console.error(`the environment variable ${name} is not set`);
  process.exit(1);
}
