/** Echoes TCP on port 7100 and UDP on port 7101, and serves a page on port 7180. */
import { createSocket } from 'node:dgram';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';

createServer((socket) => {
  socket.on('data', (bytes) => socket.write(bytes));
  socket.on('error', () => {});
}).listen(7100, '0.0.0.0', 65535);
const udp = createSocket('udp4');
udp.on('message', (bytes, from) => udp.send(bytes, from.port, from.address));
udp.bind(7101);
createHttpServer((_, response) => response.end('page')).listen(7180);
