/** Ports of the sockets in this thread's network namespace. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { localPorts } from '../../../src/linux/socket-ports.ts';

test('ports of open listeners and UDP sockets are reported, those on loopback apart', async () => {
  const listen = async (host: string) => {
    const server = createServer().listen(0, host);
    await once(server, 'listening');
    return server;
  };
  const portOf = (server: { address(): unknown }) => (server.address() as { port: number }).port;
  const [open, v6, loopback] = [await listen('0.0.0.0'), await listen('::'), await listen('127.0.0.1')];
  const udp = createSocket('udp4').bind(0, '0.0.0.0');
  await once(udp, 'listening');
  const ports = [open, v6, udp].map(portOf);
  const during = localPorts();
  assert.ok(ports.every((port) => during.open.has(port)));
  assert.not.ok(during.open.has(portOf(loopback)));
  assert.ok(during.loopback.has(portOf(loopback)));
  for (const server of [open, v6, loopback]) {
    server.close();
    await once(server, 'close');
  }
  udp.close();
  await once(udp, 'close');
  const after = localPorts();
  assert.ok(ports.every((port) => !after.open.has(port)));
});

test.run();
