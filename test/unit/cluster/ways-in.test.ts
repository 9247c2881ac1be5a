/** Ways into the cluster from the host: what is named on the command line, and the relay of connections. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseForwardTarget } from '../../../src/cluster/ways-in/port-target.ts';
import { parsePublishedPort } from '../../../src/cluster/ways-in/published-port.ts';
import { listenAndRelay } from '../../../src/cluster/ways-in/relay.ts';

const test = suite('ways in');

test('a published port: host, port, service, namespace, port of the service', () => {
  const port = { host: '127.0.0.1', port: 8080, namespace: 'default', service: 'web', servicePort: '80' };
  assert.equal(parsePublishedPort('8080:svc/web:80'), port);
  assert.equal(parsePublishedPort('8080:svc/web'), { ...port, servicePort: undefined });
  assert.equal(parsePublishedPort('0.0.0.0:8080:service/web.shop:http'), {
    ...port,
    host: '0.0.0.0',
    namespace: 'shop',
    servicePort: 'http',
  });
  assert.is(parsePublishedPort('[::1]:8080:svc/web:80')?.host, '::1');
  for (const text of ['8080', '8080:web:80', '0:svc/web', '65536:svc/web', '8080:pod/web:80', ':svc/web', '8080:svc/'])
    assert.is(parsePublishedPort(text), undefined, text);
});

test('what port-forward connects to: a pod by default, or a kind that has pods', () => {
  assert.equal(parseForwardTarget('mc3'), { kind: 'Pod', name: 'mc3' });
  assert.equal(parseForwardTarget('svc/web'), { kind: 'Service', name: 'web' });
  assert.equal(parseForwardTarget('deployment/web'), { kind: 'Deployment', name: 'web' });
  for (const text of ['', 'configmap/web', 'pod/', 'a/b/c', 'constructor/web'])
    assert.is(parseForwardTarget(text), undefined, text);
});

const listening = (server: Server): Promise<number> =>
  new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
  });

/** Sends the text, ends, and resolves to what came back, or to the code of the error. */
const exchange = (port: number, text: string): Promise<string> =>
  new Promise((resolve) => {
    let received = '';
    const socket = connect({ port, host: '127.0.0.1' }, () => socket.end(text));
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      received += chunk;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on('end', () => resolve(received));
  });

test('a client that has sent everything still gets the whole answer', async () => {
  const answer = 'x'.repeat(3_000_000);
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.resume().on('end', () => socket.end(answer));
  });
  const target = await listening(server);
  const errors: string[] = [];
  const relay = await listenAndRelay({
    host: '127.0.0.1',
    port: 0,
    dial: () => connect({ port: target, host: '127.0.0.1', allowHalfOpen: true }),
    onError: (reason) => errors.push(reason),
  });
  try {
    assert.is(await exchange(relay.port, 'GET'), answer);
    assert.equal(errors, []);
  } finally {
    relay.close();
    server.close();
  }
});

test('what cannot be reached, or breaks off, is a reset for the client and not the end of an answer', async () => {
  const server = createServer((socket) => {
    socket.once('data', () => socket.resetAndDestroy());
  });
  const target = await listening(server);
  const errors: string[] = [];
  const relayTo = (dial: () => Promise<Socket> | Socket) =>
    listenAndRelay({ host: '127.0.0.1', port: 0, dial, onError: (reason) => errors.push(reason) });
  const broken = await relayTo(() => connect({ port: target, host: '127.0.0.1', allowHalfOpen: true }));
  const unknown = await relayTo(() => Promise.reject(new Error('there is no such Service')));
  try {
    assert.is(await exchange(broken.port, 'GET'), 'ECONNRESET');
    assert.is(await exchange(unknown.port, 'GET'), 'ECONNRESET');
    assert.equal(errors, ['connection reset by peer', 'there is no such Service']);
  } finally {
    broken.close();
    unknown.close();
    server.close();
  }
});

test('a port that is in use is an error of listen', async () => {
  const server = createServer();
  const port = await listening(server);
  const dial = () => Promise.reject(new Error('unused'));
  try {
    await listenAndRelay({ host: '127.0.0.1', port, dial, onError: () => {} });
    assert.unreachable();
  } catch (error) {
    assert.is((error as NodeJS.ErrnoException).code, 'EADDRINUSE');
  } finally {
    server.close();
  }
});

test.run();
