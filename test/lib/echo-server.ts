/**
 * A server for tests that says who it is, whom it saw and where: `<hostname> <client address>:<client port> <own port>`,
 * one line.
 *
 *   node echo-server.js tcp:80 udp:53 …    words may also be
 *     name=N     answer with this name instead of the hostname
 *     unready    start not ready
 *     linger=MS  after SIGTERM go on serving for so long, then finish what was begun and end (default: end at once)
 *
 * HTTP: /healthz is 200 while ready, else 503; /ready and /unready change that; /?wait=MS answers later; any other path
 * at once. UDP: every datagram is answered, with what it said behind it.
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

process.on('SIGTERM', () => {
  if (lingerMs === 0) process.exit(0);
  if (ending) return;
  setTimeout(() => {
    ending = true;
    for (const server of servers) server.close();
    for (const server of servers) server.closeIdleConnections();
    // Requests under way are answered; UDP has none.
    const wait = setInterval(() => {
      let open = 0;
      for (const server of servers)
        server.getConnections((_, count) => {
          open += count;
        });
      setImmediate(() => {
        if (open > 0) return;
        clearInterval(wait);
        process.exit(0);
      });
    }, 20);
  }, lingerMs);
});
