/** Copies new lines of the server's log to its own output, until the server has ended. */
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';

const LOG = '/logs/access.log';
const file = openSync(LOG, 'a+');
writeFileSync('/logs/shipper-is-up', '');
const buffer = Buffer.alloc(64 * 1024);
let at = 0;

function ship(): void {
  for (let bytes = readSync(file, buffer, 0, buffer.length, at); bytes > 0; ) {
    process.stdout.write(buffer.toString('utf8', 0, bytes));
    at += bytes;
    bytes = readSync(file, buffer, 0, buffer.length, at);
  }
}

const timer = setInterval(ship, 50);
process.once('SIGTERM', () => {
  clearInterval(timer);
  ship();
  closeSync(file);
  console.log('all lines are shipped');
});
