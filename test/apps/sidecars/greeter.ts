/** Serves what an init container has fetched, on the pod's loopback alone, and writes its log into a shared volume. */
import { appendFileSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { hostname } from 'node:os';

const server = createServer((request, response) => {
  appendFileSync('/logs/access.log', `${request.headers['x-real-ip']} ${request.url}\n`);
  const about = request.url?.startsWith('/about/') ? request.url : undefined;
  try {
    response.end(about ? readFileSync(about, 'utf8') : `${hostname()}: ${readFileSync('/work/greeting', 'utf8')}`);
  } catch (error) {
    response.writeHead(404).end(`${(error as Error).message}\n`);
  }
});
server.listen(9000, '127.0.0.1', () => console.log('serving'));
// The proxy in front finishes its requests first.
process.once('SIGTERM', () => setTimeout(() => process.exit(0), 3000));
