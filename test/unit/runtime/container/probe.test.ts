import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Container } from '../../../../src/api/types/objects.ts';
import { runHandler } from '../../../../src/runtime/container/handlers.ts';
import { ProbeCounter, ProbeRunner } from '../../../../src/runtime/container/probe.ts';

let status = 200;
const seen: string[] = [];
const server = createServer((request, response) => {
  seen.push(`${request.url} ${request.headers['x-a']}`);
  if (status > 0) response.writeHead(status).end('x');
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const { port } = server.address() as AddressInfo;
const container: Container = { name: 'c', image: 'i', ports: [{ name: 'web', containerPort: port }] };
const target = {
  podIP: '127.0.0.1',
  container,
  commandLine: (command: readonly string[]) => ({ file: command[0]!, args: command.slice(1) }),
};

test('counter: a threshold of consecutive results is reported once', () => {
  const counter = new ProbeCounter({ successThreshold: 2, failureThreshold: 3 });
  const results = [true, true, true, false, false, false, false, true, false].map((ok) => counter.count(ok));
  assert.equal(results, [{}, { passed: true }, {}, {}, {}, { failed: true }, {}, {}, {}]);
});

test('httpGet: named ports and headers are used; a status below 400 is a success', async () => {
  const probe = { httpGet: { path: '/h', port: 'web', httpHeaders: [{ name: 'X-A', value: 'b' }] } };
  for (const [code, ok] of [
    [200, true],
    [302, true],
    [404, false],
    [500, false],
  ] as const) {
    status = code;
    assert.is((await runHandler(probe, target, 1000)).ok, ok);
  }
  assert.is(seen[0], '/h b');
  status = 0;
  assert.match((await runHandler(probe, target, 50)).message, /no answer within 50 ms/);
  status = 200;
  assert.match((await runHandler({ httpGet: { port: 'other' } }, target, 50)).message, /no port named "other"/);
});

test('tcpSocket succeeds if the port accepts a connection, exec if the command exits with 0', async () => {
  assert.ok((await runHandler({ tcpSocket: { port } }, target, 1000)).ok);
  assert.match((await runHandler({ tcpSocket: { port: 1 } }, target, 1000)).message, /ECONNREFUSED/);
  assert.ok((await runHandler({ exec: { command: ['true'] } }, target, 1000)).ok);
  assert.not((await runHandler({ exec: { command: ['false'] } }, target, 1000)).ok);
  const slow = await runHandler({ exec: { command: ['sleep', '5'] } }, target, 50);
  assert.equal(slow, { ok: false, message: 'command timed out after 50 ms' });
});

test('runner: until the first success, a probe is tried more often than its period', async () => {
  status = 500;
  const told: string[] = [];
  const runner = new ProbeRunner(
    { httpGet: { port }, periodSeconds: 60, failureThreshold: 2 },
    target,
    {
      onPassed: () => told.push('passed'),
      onFailed: () => told.push('failed'),
      onUnhealthy: () => told.push('unhealthy'),
    },
    Date.now(),
  );
  await sleep(120);
  status = 200;
  await sleep(400);
  runner.stop();
  assert.equal(told, ['unhealthy', 'passed']);
});

test.after(() => {
  server.close();
});
test.run();
