/** `netexec`: an HTTP(S) server with many endpoints, and a UDP server that knows the commands hostname, echo and clientip. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, writeFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { dial } from '../dial.ts';
import { parseDuration, printDuration } from '../duration.ts';
import { integer, parseFlags, text } from '../flags.ts';
import { type Handler, type HttpRequest, remoteAddress, serveHttp } from '../http.ts';
import { fatal, log } from '../log.ts';
import { UdpCommands } from '../udp-commands.ts';

const FLAGS = {
  'http-port': integer(8080),
  'tls-cert-file': text(),
  'tls-private-key-file': text(),
  'udp-port': integer(8081),
  'sctp-port': integer(-1),
  'http-override': text(),
  'udp-listen-addresses': text(),
};

export function run(args: readonly string[]): void {
  const { values } = parseFlags(FLAGS, args);
  if (values['sctp-port'] !== -1) fatal('failed to create listener for SCTP: Node.js has no SCTP sockets');
  const udp =
    values['udp-port'] === -1 ? undefined : new UdpCommands(values['udp-port'], values['udp-listen-addresses']);
  let server: Server | undefined;
  const routes = handlers(
    () => udp === undefined || udp.ready,
    (code, timeoutMs) => shutDown(server, code, timeoutMs),
    values['http-port'],
  );
  const override = values['http-override'];
  const cert = values['tls-cert-file'];
  const tls = cert === '' ? undefined : { cert: readFileSync(cert), key: readFileSync(values['tls-private-key-file']) };
  log(`Started HTTP server on port ${values['http-port']}`);
  server = serveHttp(values['http-port'], override === '' ? routes : { '/': overridden(override, routes) }, tls);
}

/** Every request is answered as a GET of this path. */
function overridden(path: string, routes: Readonly<Record<string, Handler>>): Handler {
  const { pathname, searchParams } = new URL(path, 'http://agnhost');
  return (request, response) =>
    (routes[pathname] ?? routes['/'])!(
      { ...request, method: 'GET', path: pathname, form: searchParams, body: Buffer.alloc(0) },
      response,
    );
}

function handlers(
  isReady: () => boolean,
  exit: (code: number, timeoutMs: number) => void,
  port: number,
): Record<string, Handler> {
  const answer =
    (name: string, make: (request: HttpRequest) => string): Handler =>
    (request, response) => {
      log(`GET ${name}`);
      response.end(make(request));
    };
  return {
    '/': answer('/', () => `NOW: ${printTime(new Date())}`),
    '/clientip': answer('/clientip', ({ socket }) => remoteAddress(socket)),
    '/serverport': answer('/serverport', () => String(port)),
    '/hostname': answer('/hostname', () => hostname()),
    '/hostName': answer('/hostName', () => hostname()),
    '/header': ({ form, headers }, response) => {
      const key = form.get('key') ?? '';
      log(`GET /header?key=${key}`);
      const value = headers[key.toLowerCase()] ?? '';
      response.end(Array.isArray(value) ? value[0] : value);
    },
    '/healthz': (_, response) => {
      log('GET /healthz');
      response.writeHead(isReady() ? 200 : 412).end();
    },
    '/echo': echo,
    '/redirect': redirect,
    '/dial': dial,
    '/shell': shell,
    '/upload': upload,
    '/shutdown': () => {
      log('GET /shutdown');
      process.exit(0);
    },
    '/exit': async (request, response) => {
      const wanted = exitRequest(request);
      if (typeof wanted === 'string') {
        response.end(wanted);
        return;
      }
      const { waitMs, timeoutMs, code } = wanted;
      const [wait, timeout] = [printDuration(waitMs), printDuration(timeoutMs)];
      log(`Will begin shutdown in ${wait}, allowing ${timeout} for connections to close, then will exit with ${code}`);
      await sleep(waitMs);
      if (timeoutMs === 0) process.exit(code);
      response.end();
      exit(code, timeoutMs);
    },
  };
}

/** As Go prints a time: `2026-11-28 14:50:10.123 +0000 UTC`. */
const printTime = (time: Date): string => time.toISOString().replace('T', ' ').replace('Z', ' +0000 UTC');

/** What is wrong with a status that is asked for; undefined if nothing is. */
const wrongStatus = (code: string): string | undefined =>
  code === '' || /^\d{3}$/.test(code)
    ? undefined
    : `argument 'code' must be an integer or empty, got ${JSON.stringify(code)}\n`;

const echo: Handler = ({ form }, response) => {
  const [message, code] = [form.get('msg') ?? '', form.get('code') ?? ''];
  log(`GET /echo?msg=${message}&code=${code}`);
  const wrong = wrongStatus(code);
  if (wrong !== undefined) {
    response.end(wrong);
    return;
  }
  response.writeHead(code === '' ? 200 : Number(code)).end(message);
};

const redirect: Handler = ({ form, method }, response) => {
  const [location, code] = [form.get('location') ?? '', form.get('code') ?? ''];
  log(`${method} /redirect?msg=${location}&code=${code}`);
  const wrong = wrongStatus(code);
  if (wrong !== undefined) {
    response.end(wrong);
    return;
  }
  const target = /^[a-z][a-z0-9+.-]*:|^\//i.test(location) ? location : `/${location}`;
  response.writeHead(code === '' ? 302 : Number(code), {
    Location: target,
    'Content-Type': 'text/html; charset=utf-8',
  });
  response.end(`<a href="${target.replaceAll('"', '&#34;')}">Redirect</a>.\n\n`);
};

const shell: Handler = async ({ form }, response) => {
  const command = form.get('shellCommand') || form.get('cmd') || '';
  log(`GET /shell?cmd=${command}`);
  const { output, error } = await runShell(command);
  const result = { ...(error !== undefined && { error }), ...(output !== '' && { output }) };
  log(`Output: ${JSON.stringify(result)}`);
  response.end(JSON.stringify(result));
};

function runShell(command: string): Promise<{ output: string; error?: string }> {
  return new Promise((resolve) => {
    const child = spawn('/bin/sh', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        output += chunk;
      });
    }
    child.once('error', (error) => resolve({ output, error: error.message }));
    child.once('close', (code, signal) => {
      if (code === 0) resolve({ output });
      else resolve({ output, error: signal === null ? `exit status ${code}` : `signal: ${signal}` });
    });
  });
}

const upload: Handler = async ({ headers, body }, response) => {
  log('GET /upload');
  const form = await new Response(new Uint8Array(body), { headers: { 'content-type': headers['content-type'] ?? '' } })
    .formData()
    .catch(() => undefined);
  const file = form?.get('file');
  if (file === null || file === undefined || typeof file === 'string') {
    response.end(JSON.stringify({ error: 'Unable to upload file.' }));
    return;
  }
  try {
    const path = join(await mkdtemp('/uploads/upload'), 'file');
    await writeFile(path, Buffer.from(await file.arrayBuffer()));
    await chmod(path, 0o700);
    log(`Wrote upload to ${path}`);
    response.writeHead(201).end(JSON.stringify({ output: path }));
  } catch (error) {
    log(`Unable to open file for write: ${(error as Error).message}`);
    response.end(JSON.stringify({ error: 'Unable to open file for write' }));
  }
};

/** The arguments of /exit, or what is wrong with them. */
function exitRequest({ form }: HttpRequest): { waitMs: number; timeoutMs: number; code: number } | string {
  const [code, timeout, wait] = ['code', 'timeout', 'wait'].map((name) => form.get(name) ?? '') as [
    string,
    string,
    string,
  ];
  log(`GET /exit?code=${code}&timeout=${timeout}&wait=${wait}`);
  const timeoutMs = timeout === '' ? 0 : parseDuration(timeout);
  const waitMs = wait === '' ? 0 : parseDuration(wait);
  for (const [name, text, value] of [
    ['timeout', timeout, timeoutMs],
    ['wait', wait, waitMs],
  ] as const) {
    if (value === undefined)
      return `argument '${name}' must be a valid golang duration or empty, got ${JSON.stringify(text)}\n`;
  }
  if (code !== '' && !(/^\d{1,3}$/.test(code) && Number(code) < 128))
    return `argument 'code' must be an integer [0-127] or empty, got ${JSON.stringify(code)}\n`;
  return { waitMs: waitMs ?? 0, timeoutMs: timeoutMs ?? 0, code: Number(code) };
}

/** Accepts no more connections, and exits when the present ones are closed or the time is over. */
function shutDown(server: Server | undefined, code: number, timeoutMs: number): void {
  const done = (reason: string) => {
    log(`Graceful shutdown completed with: ${reason}`);
    process.exit(code);
  };
  setTimeout(() => done('context deadline exceeded'), timeoutMs);
  server?.close(() => done('<nil>'));
  server?.closeIdleConnections();
}
