/**
 * The HTTP server of the page: fixed assets, calls with JSON, and one stream of updates for each reader (streams.ts).
 * access.ts decides who is served.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cookieName, type Gate, ownHosts, refusal, SECURITY_HEADERS, sameSecret } from './access.ts';
import { answer } from './answer.ts';
import type { Streams } from './streams.ts';

export interface Asset {
  readonly type: string;
  readonly body: Uint8Array;
}

/** A call. @throws BadRequest if the request makes no sense */
export type Call = (request: unknown) => Promise<unknown>;

/** The caller's mistake; its text is for people. */
export class BadRequest extends Error {
  override readonly name = 'BadRequest';
}

export interface UiServerOptions {
  readonly token: string;
  /** By path, such as `/app.js`; `/` is the page. */
  readonly assets: ReadonlyMap<string, Asset>;
  /** By name, as in `/api/NAME`. */
  readonly calls: Readonly<Record<string, Call>>;
  /** Undefined: nothing live. */
  readonly streams?: Streams;
}

/** Largest body of a call: a manifest of many objects. */
const MAX_BODY = 512 * 1024;
/** Connections at once; browsers use up to six. */
const MAX_CONNECTIONS = 64;
const REQUEST_MS = 10_000;

export class UiServer {
  private readonly options: UiServerOptions;
  private readonly server: Server;
  private gate: Gate;

  constructor(options: UiServerOptions) {
    this.options = options;
    this.gate = { token: options.token, port: 0 };
    this.server = createServer({ requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS }, (request, response) => {
      this.handle(request, response).catch(() => response.destroy());
    });
    this.server.maxConnections = MAX_CONNECTIONS;
  }

  /** Listens on the loopback. @param port 0: any that is free. @returns the port @throws Error of listen(2) */
  async listen(port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(port, '127.0.0.1', resolve);
    });
    const { port: bound } = this.server.address() as AddressInfo;
    this.gate = { token: this.options.token, port: bound };
    return bound;
  }

  close(): void {
    this.options.streams?.close();
    this.server.close();
    this.server.closeAllConnections();
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
    const url = URL.canParse(request.url ?? '', 'http://page') ? new URL(request.url ?? '', 'http://page') : undefined;
    if (url === undefined || url.host !== 'page') return answer(response, 400, 'the path cannot be read');
    if (this.signIn(request, url, response)) return;
    const refused = refusal(request, this.gate);
    if (refused !== undefined) return answer(response, refused.status, refused.text);
    if (request.method === 'POST') return this.call(request, url.pathname, response);
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(response, 405, 'expected GET or POST');
    if (url.pathname === '/api/stream') {
      if (this.options.streams === undefined) return answer(response, 404, 'there is nothing live');
      return this.options.streams.open(url.searchParams.get('filter') ?? '', response);
    }
    const asset = this.options.assets.get(url.pathname);
    if (asset === undefined) return answer(response, 404, 'there is no such page');
    response.writeHead(200, { 'Content-Type': asset.type, 'Content-Length': asset.body.length });
    response.end(request.method === 'HEAD' ? undefined : asset.body);
  }

  /** The printed address: its token becomes a cookie, so that it is in no history and no log. */
  private signIn(request: IncomingMessage, url: URL, response: ServerResponse): boolean {
    const given = url.searchParams.get('token');
    const { token, port } = this.gate;
    if (given === null || url.pathname !== '/' || request.method !== 'GET') return false;
    if (!ownHosts(port).has((request.headers.host ?? '').toLowerCase()) || !sameSecret(given, token)) return false;
    response.writeHead(303, {
      Location: '/',
      'Set-Cookie': `${cookieName(port)}=${token}; Path=/; HttpOnly; SameSite=Strict`,
    });
    response.end();
    return true;
  }

  private async call(request: IncomingMessage, path: string, response: ServerResponse): Promise<void> {
    const name = path.replace(/^\/api\//, '');
    const call = Object.hasOwn(this.options.calls, name) ? this.options.calls[name] : undefined;
    if (call === undefined) return answer(response, 404, 'there is no such call');
    if (!/^application\/json\b/.test(request.headers['content-type'] ?? '')) {
      return answer(response, 415, 'expected application/json');
    }
    const body = await bodyOf(request);
    if (body === undefined) {
      response.setHeader('Connection', 'close');
      return answer(response, 413, `expected at most ${MAX_BODY} bytes`);
    }
    try {
      answer(response, 200, JSON.stringify(await call(JSON.parse(body))), 'application/json');
    } catch (error) {
      const mine = !(error instanceof BadRequest || error instanceof SyntaxError);
      answer(response, mine ? 500 : 400, (error as Error).message);
    }
  }
}

/** Undefined if it is too long. */
async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
