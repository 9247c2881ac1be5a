/**
 * A pod that takes what it can get. It ends when standard input ends, and prints how many packets or connections it has sent.
 *
 *   pod-flood.js ports HOST PORT         datagrams to one address, from as many ports as there are
 *   pod-flood.js connections HOST PORT   datagrams to many ports of it from each port, so that each is another connection
 *   pod-flood.js held HOST PORT          TCP connections that stay open
 */
import { createSocket, type Socket } from 'node:dgram';
import { connect } from 'node:net';

const [kind = '', host = '', port = ''] = process.argv.slice(2);
const BURST = 32;
const EVERY_MS = 2;
const MANY_PORTS = 1024;
const MAX_HELD = 20_000;

let sent = 0;
const KINDS: Readonly<Record<string, () => void>> = {
  ports() {
    const socket = createSocket('udp4');
    socket.on('error', () => {});
    socket.send('x', Number(port), host, () => socket.close());
  },
  connections: (() => {
    let socket: Socket | undefined;
    let next = 0;
    return () => {
      if (next === 0) {
        socket?.close();
        socket = createSocket('udp4');
        socket.on('error', () => {});
      }
      socket?.send('x', Number(port) + next, host, () => {});
      next = (next + 1) % MANY_PORTS;
    };
  })(),
  held() {
    if (sent > MAX_HELD) return;
    const socket = connect(Number(port), host);
    socket.on('error', () => {});
  },
};
const one = KINDS[kind]!;
process.stdin.once('data', () => {
  setInterval(() => {
    for (let n = 0; n < BURST; n++) {
      one();
      sent++;
    }
  }, EVERY_MS);
});
process.stdin.on('end', () => {
  console.log(String(sent));
  process.exit(0);
});
console.log('ready');
