/**
 * The servers that chaos clients talk to: echo over TCP (port 7000, lines) and UDP (7001), HTTP (80).
 *
 *   node server.js
 */
import { createSocket } from 'node:dgram';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';

createServer((socket) => {
  socket.on('error', () => socket.destroy());
  socket.pipe(socket);
}).listen(7000);
const udp = createSocket('udp4');
udp.on('message', (message, from) => udp.send(message, from.port, from.address, () => {})).bind(7001);
createHttpServer((_request, response) => response.end('ok\n')).listen(80);
