/** `serve-hostname`: the host's name over HTTP, TCP or UDP. */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { hostname } from 'node:os';
import { boolean, integer, parseFlags } from '../flags.ts';
import { hostPort, remoteAddress, serveHttp } from '../http.ts';
import { fatal, log } from '../log.ts';
import { describeError } from '../network-error.ts';

const FLAGS = {
  tcp: boolean(),
  udp: boolean(),
  http: boolean(true),
  close: boolean(),
  port: integer(9376),
};
/** After SIGTERM it goes on serving: the pod may still be an endpoint for other nodes. */
const LINGER_MS = 60_000;

export function run(args: readonly string[]): void {
  const { tcp, udp, http, close, port } = parseFlags(FLAGS, args).values;
  if (http && (tcp || udp)) fatal("Can't server TCP/UDP mode and HTTP mode at the same time");
  const name = hostname();
  if (tcp) serveTcp(port, name);
  if (udp) serveUdp(port, name);
  if (http) {
    serveHttp(port, {
      '/': ({ socket }, response) => {
        log(`HTTP request from ${remoteAddress(socket)}`);
        if (close) response.setHeader('Connection', 'close');
        response.end(name);
      },
    });
  }
  log(`Serving on port ${port}.`);
  process.once('SIGTERM', () => {
    log('Shutting down after receiving signal: terminated.');
    log('Awaiting pod deletion.');
    setTimeout(() => process.exit(0), LINGER_MS);
  });
}

function serveTcp(port: number, name: string): void {
  const server = createServer((socket) => {
    log(`TCP request from ${remoteAddress(socket)}`);
    socket.on('error', () => {});
    socket.end(name);
  });
  server.on('error', (error) => fatal(`Error from net.Listen(): listen tcp :${port}: bind: ${describeError(error)}`));
  server.listen(port);
}

function serveUdp(port: number, name: string): void {
  const socket = createSocket('udp6');
  socket.on('error', (error) => fatal(`Error from ListenUDP(): listen udp :${port}: bind: ${describeError(error)}`));
  socket.on('message', (_, from) => {
    log(`UDP request from ${hostPort(from.address.replace(/^::ffff:/, ''), from.port)}`);
    socket.send(name, from.port, from.address, () => {});
  });
  socket.bind(port);
}
