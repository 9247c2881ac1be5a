/** `agnhost connect`: the lines and the status that Kubernetes' tests of network policies look for. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { agnhost, freePort } from '../../lib/agnhost.ts';

test('a connection that succeeds prints nothing', async () => {
  const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  assert.equal(await agnhost('connect', `127.0.0.1:${port}`, '--timeout=3s'), { status: 0, stdout: '', stderr: '' });
  server.close();
});

test('REFUSED: the port is closed', async () => {
  const port = await freePort();
  const { status, stdout, stderr } = await agnhost('connect', `127.0.0.1:${port}`, '--timeout=3s', '--protocol=tcp');
  assert.equal([status, stdout, stderr], [1, '', 'REFUSED\n']);
  const udp = await agnhost('connect', `127.0.0.1:${port}`, '--timeout=3s', '--protocol=udp');
  assert.is(udp.status, 1);
  assert.match(
    udp.stderr,
    new RegExp(`^REFUSED: read udp 127\\.0\\.0\\.1:\\d+->127\\.0\\.0\\.1:${port}: read: connection refused\n$`),
  );
});

test('TIMEOUT: no answer within the time', async () => {
  const silent = createSocket('udp4').bind(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address();
  const udp = await agnhost('connect', `127.0.0.1:${port}`, '--timeout=200ms', '--protocol=udp');
  silent.close();
  assert.is(udp.status, 1);
  assert.match(udp.stderr, /^TIMEOUT: read udp \S+: i\/o timeout\n$/);
});

test('UDP succeeds with an answer; the payload is that of --udp-data and a newline', async () => {
  const server = createSocket('udp4').bind(0, '127.0.0.1');
  await once(server, 'listening');
  let received = '';
  server.on('message', (message, from) => {
    received = message.toString();
    server.send('web', from.port, from.address);
  });
  const place = `127.0.0.1:${server.address().port}`;
  const answered = await agnhost('connect', place, '--protocol=udp', '--timeout=3s', '--udp-data=clientip');
  server.close();
  assert.equal(answered, { status: 0, stdout: '', stderr: '' });
  assert.is(received, 'clientip\n');
});

test('DNS: the name or the port does not exist', async () => {
  for (const place of ['nobody.invalid:80', '127.0.0.1:no-such-port']) {
    const { status, stderr } = await agnhost('connect', place, '--timeout=5s');
    assert.is(status, 1);
    assert.match(stderr, /^DNS: lookup .+\n$/);
  }
});

test('UNKNOWN: the argument is not HOST:PORT', async () => {
  const { status, stderr } = await agnhost('connect', '127.0.0.1');
  assert.equal([status, stderr], [1, 'UNKNOWN: address 127.0.0.1: missing port in address\n']);
});

test('OTHER: an error of the network besides these', async () => {
  // A broadcast address cannot be connected to.
  const { status, stderr } = await agnhost('connect', '255.255.255.255:80', '--timeout=3s');
  assert.is(status, 1);
  assert.match(stderr, /^OTHER: dial tcp 255\.255\.255\.255:80: connect: .+\n$/);
});

test('more or fewer arguments than one are a usage error', async () => {
  assert.match((await agnhost('connect')).stderr, /^Error: accepts 1 arg\(s\), received 0\n/);
  assert.is((await agnhost('connect', 'a:1', 'b:2')).status, 1);
});

test.run();
