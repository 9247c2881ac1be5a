import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { limitConnections } from '../../../src/net/connection-limits.ts';

/** Connect from one of the loopback network's addresses. */
async function client(port: number, localAddress: string): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress });
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 50));

test('a client that exceeds its share loses its own oldest connections, other clients none', async () => {
  const server = createServer((socket) => socket.on('error', () => {}));
  const closed = limitConnections(server, { total: 100, perAddress: 3 });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const quiet = await client(port, '127.0.0.2');
  const greedy: Socket[] = [];
  for (let i = 0; i < 20; i++) greedy.push(await client(port, '127.0.0.3'));
  await settle();
  assert.not.ok(quiet.destroyed || quiet.readableEnded);
  assert.is(greedy.filter(({ readableEnded, destroyed }) => !readableEnded && !destroyed).length, 3);
  assert.not.ok(greedy.at(-1)!.destroyed);
  assert.is(closed(), 17);
  for (const socket of [quiet, ...greedy]) socket.destroy();
  server.close();
});

test('when the total is reached, the client with the most connections loses one', async () => {
  const server = createServer((socket) => socket.on('error', () => {}));
  limitConnections(server, { total: 6, perAddress: 4 });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const many: Socket[] = [];
  for (let i = 0; i < 4; i++) many.push(await client(port, '127.0.0.4'));
  const few = [await client(port, '127.0.0.5'), await client(port, '127.0.0.6')];
  const late = await client(port, '127.0.0.7');
  await settle();
  const alive = (sockets: Socket[]) => sockets.filter(({ readableEnded, destroyed }) => !readableEnded && !destroyed);
  assert.equal([alive(many).length, alive(few).length, alive([late]).length], [3, 2, 1]);
  for (const socket of [...many, ...few, late]) socket.destroy();
  server.close();
});

test.run();
