/**
 * A test server that replies with its name, the client it saw and its port: `<hostname> <client address>:<client port>
 * <own port>`, one line.
 *
 *   node echo-server.js tcp:80 udp:53 …    further arguments:
 *     name=N     reply with this name instead of the hostname
 *     unready    start not ready
 *     linger=MS  after SIGTERM continue serving for this long, then finish open requests and exit (default: exit at once)
 *
 * HTTP: /healthz is 200 while ready, else 503; /ready and /unready change that; /?wait=MS replies later; any other path
 * at once. UDP: every datagram is answered, with its own content appended.
 */
import { createSocket } from 'node:dgram';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { hostname } from 'node:os';

const words = process.argv.slice(2);
const value = (name: string): string | undefined =>
  words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
const name = value('name') ?? hostname();
const lingerMs = Number(value('linger') ?? 0);
let ready = !words.includes('unready');
let ending = false;
let closed = 0;
const TURN_MS = 20;
const QUIET_TURNS = 5;

function answer(request: IncomingMessage, response: ServerResponse): void {
  const { remoteAddress, remotePort, localPort } = request.socket;
  const path = request.url ?? '/';
  if (path === '/ready' || path === '/unready') ready = path === '/ready';
  const status = path === '/healthz' && !ready ? 503 : 200;
  if (ending) response.shouldKeepAlive = false;
  const waitMs = Number(/[?&]wait=(\d+)/.exec(path)?.[1] ?? 0);
  const reply = () => response.writeHead(status).end(`${name} ${remoteAddress}:${remotePort} ${localPort}\n`);
  request.resume().on('end', () => (waitMs > 0 ? setTimeout(reply, waitMs) : reply()));
}

const servers = words
  .filter((word) => word.startsWith('tcp:'))
  .map((word) => createServer(answer).listen({ port: Number(word.slice(4)), host: '0.0.0.0', backlog: 1024 }));
for (const word of words.filter((one) => one.startsWith('udp:'))) {
  const socket = createSocket('udp4');
  const own = Number(word.slice(4));
  socket.on('message', (text, { address, port }) => {
    socket.send(`${name} ${address}:${port} ${own} ${text}`, port, address);
  });
  socket.bind(own, '0.0.0.0');
}

let connections = 0;
for (const server of servers) server.on('connection', () => connections++);

process.on('SIGTERM', () => {
  if (lingerMs === 0) process.exit(0);
  if (!ending) setTimeout(closeWhenQuiet, lingerMs);
});

/**
 * Stop listening once no client has connected for a few turns of the event loop: clients waiting in the kernel's queue
 * when a socket is closed are reset, and after a time without CPU, timers run before connections are accepted.
 */
function closeWhenQuiet(): void {
  let [seen, quiet] = [connections, 0];
  const look = setInterval(() => {
    quiet = connections === seen ? quiet + 1 : 0;
    seen = connections;
    if (quiet < QUIET_TURNS) return;
    clearInterval(look);
    ending = true;
    for (const server of servers) server.close(endWhenDone);
    for (const server of servers) server.closeIdleConnections();
    if (servers.length === 0) process.exit(0);
  }, TURN_MS);
}

/** All open requests are answered when all servers are closed. */
function endWhenDone(): void {
  closed++;
  if (closed === servers.length) process.exit(0);
}
