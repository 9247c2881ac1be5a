/**
 * Sends datagrams of the given payload sizes to a UDP echo server, one after another, and compares the echoes. Each is
 * sent three times at most: a network may lose datagrams, but not change them.
 *
 *   node datagram-check.js IP PORT SIZE…
 */
import { createSocket } from 'node:dgram';

const [ip = '', port = '', ...sizes] = process.argv.slice(2);
const TRIES = 3;
const WAIT_MS = 700;

const socket = createSocket('udp4');
let heard: (text: string) => void = () => {};
socket.on('message', (data) => heard(data.toString('latin1')));
socket.on('error', (error) => {
  console.log(error.message);
  process.exit(1);
});
for (const size of sizes.map(Number)) {
  const payload = Array.from({ length: size }, (_, i) =>
    String.fromCharCode(97 + ((i * 7 + (i >> 8) + size) % 26)),
  ).join('');
  if (!(await echoed(payload))) {
    console.log(`${size} bytes did not come back`);
    process.exit(1);
  }
}
socket.close();

async function echoed(payload: string): Promise<boolean> {
  for (let turn = 0; turn < TRIES; turn++) {
    const answer = new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), WAIT_MS);
      heard = (text) => {
        clearTimeout(timer);
        resolve(text.endsWith(` ${payload}`));
      };
    });
    socket.send(payload, Number(port), ip);
    if (await answer) return true;
  }
  return false;
}
