/** `tcp-reset`: reads one byte and closes. A client that has sent more gets a reset, because data was left unread. */
import { createServer } from 'node:net';
import { integer, parseFlags } from '../flags.ts';
import { remoteAddress } from '../http.ts';
import { fatal, log } from '../log.ts';
import { describeError } from '../network-error.ts';

export function run(args: readonly string[]): void {
  const { port } = parseFlags({ port: integer(8080) }, args).values;
  const server = createServer((socket) => {
    log(`Received connection from: ${remoteAddress(socket)}`);
    socket.on('error', () => {});
    // Node.js reads all there is, so the kernel does not know of unread data.
    socket.once('data', (data: Buffer) => (data.length > 1 ? socket.resetAndDestroy() : socket.end()));
  });
  server.on('error', (error) => fatal(`listen tcp :${port}: bind: ${describeError(error)}`));
  server.listen(port, () => log(`Listening on port ${port}`));
}
