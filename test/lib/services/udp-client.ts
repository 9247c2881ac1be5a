/**
 * A UDP client with one socket, for tests: a numbered datagram every few milliseconds, until SIGTERM; each reply is a
 * line `<number> <reply>` on its standard output. Errors (ICMP) are lines `! <code>`. At the end: `sent <count>`.
 *
 *   node udp-client.js ADDRESS PORT INTERVAL-MS [SOURCE-PORT]
 */
import { createSocket } from 'node:dgram';

const [address = '', port, intervalMs, sourcePort] = process.argv.slice(2);
const socket = createSocket('udp4');
let sent = 0;

socket.on('error', ({ message }) => console.log(`! ${message}`));
socket.on('message', (data) => {
  const [name, client, own, number] = data.toString().trim().split(' ');
  console.log(`${number} ${name} ${client} ${own}`);
});
socket.bind(Number(sourcePort ?? 0), () => {
  socket.connect(Number(port), address, () => {
    setInterval(
      () => socket.send(String(sent++), (error) => error && console.log(`! ${error.message}`)),
      Number(intervalMs),
    );
  });
});
process.on('SIGTERM', () => {
  // Replies in flight may still arrive.
  setTimeout(() => {
    console.log(`sent ${sent}`);
    process.exit(0);
  }, 200);
});
