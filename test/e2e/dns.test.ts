/** Names in pods: queries through the system's resolver, and Services in the environment. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, dataplane, eventually, nodeNetns, podNetns, processPod, startCluster } from '../lib/cluster.ts';
import { agentPid } from '../lib/node-processes.ts';
import { pause } from '../lib/paused-process.ts';

const test = suite('names');
let cluster: Cluster;

const SERVE = [
  'sh',
  '-c',
  'exec "$0" -e "require(\'http\').createServer((q, r) => r.end(require(\'os\').hostname())).listen(8080)"',
  process.execPath,
];

test.before(async () => {
  const service = (name: string, spec: object) => ({ apiVersion: 'v1', kind: 'Service', metadata: { name }, spec });
  const ports = [{ name: 'http', port: 80, targetPort: 8080 }];
  const none = processPod('none', 'n1', ['sleep', '1000']);
  cluster = await startCluster({
    args: ['--nodes', '2'],
    manifests: [
      service('web', { selector: { app: 'server' }, ports }),
      service('db', { selector: { app: 'server' }, clusterIP: 'None', ports }),
      service('alias', { type: 'ExternalName', externalName: 'web.default.svc.cluster.local' }),
      processPod('server', 'n1', SERVE),
      processPod('client', 'n2', ['sleep', '1000']),
      {
        ...none,
        spec: {
          ...none.spec,
          dnsPolicy: 'None',
          dnsConfig: { nameservers: ['10.96.0.10'], searches: ['svc.cluster.local'] },
        },
      },
    ],
  });
});
test.after(async () => {
  await cluster?.down();
});

const inPod = async (pod: string, ...command: string[]) => {
  const { status, stdout, stderr } = await dataplane(['exec', pod, '--', ...command]);
  return { status, output: stdout.trim(), stderr };
};

test('the system’s resolver resolves a Service by its short, partly and fully qualified name', async () => {
  for (const name of ['web', 'web.default', 'web.default.svc', 'web.default.svc.cluster.local', 'WEB']) {
    const { output } = await eventually(async () => {
      const found = await inPod('client', 'getent', 'ahostsv4', name);
      return found.status === 0 ? found : undefined;
    });
    assert.match(output, /^10\.\d+\.\d+\.\d+\s+STREAM/, name);
  }
  assert.match((await inPod('client', 'cat', '/etc/resolv.conf')).output, 'nameserver 10.96.0.10');
});

test('a client reaches a Service by its name, over the overlay, and a headless one by its endpoint', async () => {
  assert.is((await inPod('client', 'curl', '-sS', '--max-time', '5', 'http://web/')).output, 'server');
  assert.is((await inPod('client', 'curl', '-sS', '--max-time', '5', 'http://db:8080/')).output, 'server');
  assert.is((await inPod('client', 'curl', '-sS', '--max-time', '5', 'http://alias/')).output, 'server');
  assert.is((await inPod('none', 'curl', '-sS', '--max-time', '5', 'http://web.default/')).output, 'server');
});

test('a name that does not exist fails at once, inside and outside the cluster', async () => {
  for (const name of ['nobody', 'nobody.default.svc.cluster.local', 'example.com']) {
    const start = Date.now();
    const { status } = await inPod('client', 'getent', 'hosts', name);
    assert.is(status, 2, name);
    assert.ok(Date.now() - start < 2000, `${name} took ${Date.now() - start} ms`);
  }
});

test('each node answers its own pods, and the node itself', async () => {
  const script =
    'const { Resolver } = require("dns").promises; const r = new Resolver({ timeout: 2000, tries: 1 }); r.setServers(["10.96.0.10"]); r.resolve4("web.default.svc.cluster.local").then((a) => console.log(a.length))';
  for (const netns of [nodeNetns('n1'), nodeNetns('n2'), podNetns('client')]) {
    const { stdout, stderr } = await cluster.exec(netns, [process.execPath, '-e', script]);
    assert.is(stdout.trim(), '1', `${netns}: ${stderr}`);
  }
});

test('dns query shows each candidate of the search list, the answer, and whose address it is', async () => {
  const explained = await cluster.cli('dns', 'query', 'web', '--from', 'pod/client');
  assert.match(explained, /^nameserver 10\.96\.0\.10; search default\.svc\.cluster\.local .*, ndots 5\n/);
  assert.match(explained, /1\. web\.default\.svc\.cluster\.local\. A: NOERROR/);
  assert.match(explained, /web\.default\.svc\.cluster\.local\. \d+ IN A 10\.\S+ +service default\/web/);
  const headless = await cluster.cli('dns', 'query', '_http._tcp.db.default.svc.cluster.local', '--type', 'SRV');
  assert.match(headless, /IN SRV 0 100 8080 \S+\.db\.default\.svc\.cluster\.local\./);
  const { status, stdout } = await dataplane(['dns', 'query', 'nobody', '--from', 'pod/client', '-o', 'json']);
  assert.is(status, 1);
  const { attempts } = JSON.parse(stdout) as { attempts: { name: string; outcome: string }[] };
  assert.equal(
    attempts.map(({ name, outcome }) => `${name} ${outcome}`),
    ['default.svc.cluster.local', 'svc.cluster.local', 'cluster.local', ''].map(
      (domain) => `nobody.${domain === '' ? '' : `${domain}.`} NXDOMAIN`,
    ),
  );
});

/** Sends 3000 queries at once from 64 sockets, whose buffers hold the responses, and prints how many were answered within three seconds. */
const BURST = `
const { createSocket } = require('node:dgram');
const name = 'web.default.svc.cluster.local'.split('.').map((label) => String.fromCharCode(label.length) + label).join('');
let answered = 0;
const sockets = Array.from({ length: 64 }, () => createSocket('udp4').on('message', () => answered++));
for (let i = 0; i < 3000; i++) {
  const query = Buffer.from('\\0\\0\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0' + name + '\\0\\0\\1\\0\\1', 'latin1');
  query.writeUInt16BE(i, 0);
  sockets[i % 64].send(query, 53, '10.96.0.10');
}
setTimeout(() => { console.log(answered); process.exit(); }, 3000);`;

test('3000 queries at once are answered, though the agent gets no processor for a while', async () => {
  // The pod knows its gateway: the kernel holds few packets for an address that it is asking for.
  await inPod('client', 'getent', 'hosts', 'web');
  const pid = agentPid('n2');
  const goOn = pause(pid);
  const client = cluster.start(podNetns('client'), [process.execPath, '-e', BURST]);
  let output = '';
  client.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  await sleep(500);
  goOn();
  await once(client, 'close');
  assert.is(output.trim(), '3000');
  assert.is(agentPid('n2'), pid, 'the same agent');
});

test('a changed endpoint appears in responses within a second', async () => {
  await cluster.cli('delete', 'pod', 'server');
  await eventually(async () => {
    const { status } = await inPod('client', 'getent', 'hosts', 'db');
    return status === 2 ? true : undefined;
  }, 1000);
});

test('containers have Services and the API in their environment', async () => {
  const { output } = await inPod('client', 'env');
  assert.match(output, /^WEB_SERVICE_HOST=10\.\d+\.\d+\.\d+$/m);
  assert.match(output, /^WEB_SERVICE_PORT_HTTP=80$/m);
  assert.match(output, /^KUBERNETES_SERVICE_HOST=10\.96\.0\.1$/m);
});

test.run();
