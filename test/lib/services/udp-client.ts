/**
 * A UDP client with one socket, for tests: a numbered datagram every few milliseconds, until SIGTERM; each reply is a
 * line `<number> <reply>` on its standard output. Errors (ICMP) are lines `! <code>`. At the end: `sent <count>`.
 *
 *   node udp-client.js ADDRESS PORT INTERVAL-MS [SOURCE-PORT [WAIT-MS]]
 *
 * With WAIT-MS at most one datagram is in flight: the next is sent when the last has been answered, or is that old.
 */
import { createSocket } from 'node:dgram';

const [address = '', port, intervalMs, sourcePort, waitMs] = process.argv.slice(2);
const socket = createSocket('udp4');
let sent = 0;
let sentMs = 0;
let isWaiting = false;

function send(): void {
  if (isWaiting && performance.now() - sentMs < Number(waitMs)) return;
  isWaiting = waitMs !== undefined;
  sentMs = performance.now();
  socket.send(String(sent++), (error) => error && console.log(`! ${error.message}`));
}

socket.on('error', ({ message }) => console.log(`! ${message}`));
socket.on('message', (data) => {
  const [name, client, own, number] = data.toString().trim().split(' ');
  console.log(`${number} ${name} ${client} ${own}`);
  if (Number(number) === sent - 1) isWaiting = false;
});
socket.bind(Number(sourcePort ?? 0), () => {
  socket.connect(Number(port), address, () => {
    setInterval(send, Number(intervalMs));
  });
});
process.on('SIGTERM', () => {
  // Replies in flight may still arrive.
  setTimeout(() => {
    console.log(`sent ${sent}`);
    process.exit(0);
  }, 200);
});
