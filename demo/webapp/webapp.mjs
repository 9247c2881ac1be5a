/**
 * What the image training/webapp does: answers GET / on port 5000 (or PORT) with `Hello world!`, or `Hello $PROVIDER!`.
 * One line per request goes to standard output.
 */
import { createServer } from 'node:http';

const greeting = `Hello ${process.env.PROVIDER ?? 'world'}!`;
const port = Number(process.env.PORT ?? 5000);

const server = createServer((request, response) => {
  const found = new URL(request.url ?? '/', 'http://webapp').pathname === '/';
  const allowed = request.method === 'GET' || request.method === 'HEAD';
  const status = !found ? 404 : allowed ? 200 : 405;
  const body = status === 200 ? greeting : status === 404 ? 'Not Found\n' : 'Method Not Allowed\n';
  response.writeHead(status, {
    'Content-Type': `text/${status === 200 ? 'html' : 'plain'}; charset=utf-8`,
    'Content-Length': Buffer.byteLength(body),
    ...(status === 405 && { Allow: 'GET, HEAD' }),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
  const from = request.socket.remoteAddress?.replace(/^::ffff:/, '') ?? '-';
  console.log(`${from} - - [${new Date().toISOString()}] "${request.method} ${request.url}" ${status}`);
});

server.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
server.listen(port, () => console.log(`listening on port ${port}`));

// As PID 1 of its container it gets no default action for signals.
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
