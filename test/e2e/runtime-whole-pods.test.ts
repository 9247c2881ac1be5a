/** Fields of a pod's spec that change its namespaces, its volumes and its probes. */
import { createServer } from 'node:http2';
import { hostname } from 'node:os';
import * as assert from 'uvu/assert';
import type { Container } from '../../src/api/types/objects.ts';
import { attempt, until } from './runtime-fixture.ts';
import { runtimeSuite } from './runtime-suite.ts';

const { test, left } = runtimeSuite('runtime: whole pods', import.meta.url);

const container = (script: string, more: Partial<Container> = {}): Container => ({
  name: 'c',
  image: 'process',
  command: ['sh', '-c', script],
  ...more,
});
const idle = container('exec sleep 1000');
const lines = (text: string): string[] => text.trimEnd().split('\n');

test('hostNetwork: the network, the address and the name of the node; DNS of the host unless ClusterFirstWithHostNet', async ({
  runtime,
}) => {
  const port = 8089;
  runtime.pod('host', {
    hostNetwork: true,
    hostname: 'ignored',
    hostAliases: [{ ip: '192.0.2.1', hostnames: ['alias'] }],
    containers: [
      container(`while :; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nnode' | nc -N -l ${port} > /dev/null; done`, {
        readinessProbe: { tcpSocket: { port }, periodSeconds: 1, timeoutSeconds: 5 },
      }),
    ],
  });
  await runtime.ready('host', 20_000);
  const { podIP, podIPs, hostIP } = runtime.status('host');
  assert.is(podIP, '10.199.0.1');
  assert.equal(podIPs, [{ ip: hostIP! }]);
  assert.not.ok(runtime.attached.includes('host'), 'it has no device of its own');
  const inside = (...command: string[]) => runtime.exec('host', 'c', ...command);
  assert.is(
    inside('readlink', '/proc/self/ns/net'),
    attempt(() => inside('readlink', '/proc/1/ns/net')),
  );
  assert.match(inside('ip', '-o', 'address', 'show', 'dev', 'lo'), '10.199.0.1/32');
  assert.is(inside('cat', '/etc/hostname'), 'n1\n');
  assert.is(inside('hostname'), 'n1\n');
  assert.match(inside('cat', '/etc/hosts'), /\n192\.0\.2\.1\talias\n$/);
  assert.is.not(hostname(), 'n1', 'the name of the host itself has not changed');
  process.kill(runtime.pausePid('host'), 'SIGKILL');
  await until('a new sandbox', () => runtime.events.some((event) => event.startsWith('host SandboxChanged')));
  await runtime.ready('host', 20_000);
  runtime.delete('host');
  await until('the end', () => runtime.deleted.includes('host'));
});

test('shareProcessNamespace: containers see and signal each other’s processes, and restart alone', async ({
  runtime,
}) => {
  runtime.pod('shared', {
    shareProcessNamespace: true,
    containers: [idle, container('sleep 2000 & exec sleep 3000', { name: 'd' })],
  });
  await runtime.ready('shared');
  const seen = () => lines(runtime.exec('shared', 'c', 'ps', '-eo', 'args')).filter((line) => /sleep \d/.test(line));
  assert.equal(
    seen()
      .filter((line) => /^sleep [123]000$/.test(line))
      .sort(),
    ['sleep 1000', 'sleep 2000', 'sleep 3000'],
  );
  assert.match(
    lines(runtime.exec('shared', 'c', 'cat', '/proc/1/cmdline'))[0]!.replaceAll('\0', ' '),
    /pause infinity/,
  );
  runtime.exec('shared', 'c', 'pkill', '-TERM', '-f', '^sleep 3000$');
  await until('a restart', () => runtime.container('shared', 'd')?.restartCount === 1, 20_000);
  assert.is(runtime.container('shared', 'd')?.lastState?.terminated?.exitCode, 143);
  assert.is(runtime.container('shared', 'c')?.restartCount, 0);
  runtime.exec('shared', 'c', 'sh', '-c', '(sleep 0.1 &) ; exit 0');
  await until('orphans to be collected', () => !lines(runtime.exec('shared', 'c', 'ps', '-eo', 'stat')).includes('Z'));
});

test('fsGroup: volumes belong to the group, and processes are in it', async ({ runtime }) => {
  runtime.configMap('settings', { key: 'value' });
  runtime.pod('group', {
    securityContext: { runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000 },
    containers: [
      container('echo new > /data/file; exec sleep 1000', {
        volumeMounts: [
          { name: 'data', mountPath: '/data' },
          { name: 'memory', mountPath: '/memory' },
          { name: 'settings', mountPath: '/settings' },
        ],
      }),
    ],
    volumes: [
      { name: 'data', emptyDir: {} },
      { name: 'memory', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
      { name: 'settings', configMap: { name: 'settings', defaultMode: 0o400 } },
    ],
  });
  await runtime.ready('group');
  const inside = (...command: string[]) => runtime.exec('group', 'c', ...command).trimEnd();
  assert.is(inside('id', '-G'), '1000 2000');
  assert.is(inside('stat', '-c', '%g %a', '/data'), '2000 2777');
  assert.is(inside('stat', '-c', '%g %a', '/memory'), '2000 2777');
  await until('the file', () => attempt(() => inside('stat', '-c', '%u %g', '/data/file')) === '1000 2000');
  assert.is(inside('cat', '/settings/key'), 'value');
});

test('subPathExpr: a part of a volume by the container’s own variables; one that is not set is an error', async ({
  runtime,
}) => {
  const env = [{ name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }];
  const mounted = (name: string, subPathExpr: string): Container =>
    container('echo $POD > /logs/file; exec sleep 1000', {
      ...{ name, env, volumeMounts: [{ name: 'data', mountPath: '/logs', subPathExpr }] },
    });
  runtime.pod('parts', {
    containers: [
      mounted('c', 'logs/$(POD)'),
      mounted('wrong', '$(ABSENT)'),
      { ...idle, name: 'all', volumeMounts: [{ name: 'data', mountPath: '/all' }] },
    ],
    volumes: [{ name: 'data', emptyDir: {} }],
  });
  await until(
    'the file',
    () => attempt(() => runtime.exec('parts', 'all', 'cat', '/all/logs/parts/file')) === 'parts\n',
  );
  const waiting = runtime.container('parts', 'wrong')?.state?.waiting;
  assert.is(waiting?.reason, 'CreateContainerConfigError');
  assert.is(waiting?.message, 'missing value for "ABSENT" in subPathExpr "$(ABSENT)"');
});

test('gRPC probes: SERVING is a success, anything else and any other server a failure with the reason', async ({
  runtime,
}) => {
  const servers = { healthy: 1, unhealthy: 2 } as const;
  const listening = Object.entries(servers).map(([name, status], i) => {
    const server = createServer();
    server.on('stream', (stream, headers) => {
      const body: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => body.push(chunk));
      stream.on('end', () => {
        const asked = Buffer.concat(body).subarray(7).toString();
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
        stream.on('wantTrailers', () =>
          stream.sendTrailers({ 'grpc-status': asked === 'absent' ? '5' : '0', 'grpc-message': 'unknown%20service' }),
        );
        stream.end(Buffer.from([0, 0, 0, 0, 2, 8, status]));
      });
      assert.is(headers[':path'], '/grpc.health.v1.Health/Check');
    });
    server.listen(7000 + i, '10.199.0.1');
    return { name, server, port: 7000 + i };
  });
  const probed = (name: string, port: number, service?: string) =>
    runtime.pod(name, {
      hostNetwork: true,
      containers: [
        {
          ...idle,
          readinessProbe: { grpc: { port, ...(service && { service }) }, periodSeconds: 1, timeoutSeconds: 5 },
        },
      ],
    });
  for (const { name, port } of listening) probed(name, port);
  probed('named', 7000, 'shop');
  probed('absent', 7000, 'absent');
  probed('closed', 7009);
  try {
    await runtime.ready('healthy', 20_000);
    await runtime.ready('named', 20_000);
    const failure = (pod: string, text: string) =>
      until(
        `${pod}: ${text}`,
        () => runtime.events.some((e) => e.startsWith(`${pod} Unhealthy: Readiness probe failed: ${text}`)),
        20_000,
      );
    await failure('unhealthy', 'service unhealthy (responded with "NOT_SERVING")');
    await failure('absent', 'error: health rpc failed: rpc error: code = 5 desc = unknown service');
    await failure('closed', 'error: failed to connect service at "10.199.0.1:7009": ');
  } finally {
    for (const { server } of listening) server.close();
  }
});

test('nothing is left', () => assert.equal(left, []));

test.run();
