/** `dataplane why` in broken clusters: the last line names the cause. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { connectInNamespace } from '../../../src/linux/connect.ts';
import {
  type Cluster,
  dataplane,
  eventually,
  output,
  podNetns,
  processPod,
  run,
  startCluster,
} from '../../lib/cluster.ts';

const test = suite('why');
let cluster: Cluster;

const SERVE = 'require("http").createServer((q, r) => r.end("page")).listen(8080)';
const LOCAL = 'require("http").createServer((q, r) => r.end("page")).listen(8080, "127.0.0.1")';
const service = (name: string, spec: object, namespace = 'default') => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace },
  spec: { ports: [{ name: 'http', port: 80, targetPort: 8080 }], ...spec },
});

test.before(async () => {
  const server = processPod('server', 'n1', [process.execPath, '-e', SERVE]);
  const [container] = server.spec.containers as object[];
  cluster = await startCluster({
    args: ['--nodes', '2', '--max-conntrack', '400'],
    manifests: [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
      service('web', { selector: { app: 'server' } }),
      service('cart', { selector: { app: 'server' } }, 'shop'),
      service('empty', { selector: { app: 'nobody' } }),
      service('named', { selector: { app: 'server' }, ports: [{ port: 80, targetPort: 'https' }] }),
      service('wrong', { selector: { app: 'server' }, ports: [{ port: 80, targetPort: 9090 }] }),
      service('local', {
        type: 'NodePort',
        externalTrafficPolicy: 'Local',
        selector: { app: 'server' },
        ports: [{ port: 80, targetPort: 8080, nodePort: 30123 }],
      }),
      {
        ...server,
        spec: { ...server.spec, containers: [{ ...container, ports: [{ name: 'http', containerPort: 8080 }] }] },
      },
      processPod('client', 'n2', ['sleep', '1000']),
      processPod('inward', 'n2', [process.execPath, '-e', LOCAL]),
    ],
  });
  await eventually(async () => ((await why('pod/client', 'web:80')).status === 0 ? true : undefined));
});
test.after(async () => {
  await cluster?.down();
});

const why = (...args: string[]) => dataplane(['why', ...args]);

/** What `trace` says of such a packet, or why there is none, in one line. */
async function traced(from: string, to: string): Promise<string> {
  const { stdout, stderr } = await dataplane(['trace', from, '--to', to]);
  return `${stdout}${stderr}`.replace(/\s+/g, ' ');
}

/** The last line, of a run that found something. A trace, which sends nothing, names the same cause. */
async function causeOf(from: string, to: string): Promise<string> {
  const { status, stdout, stderr } = await why(from, to);
  assert.is(status, 1, `${stdout}${stderr}`);
  const last = stdout.trimEnd().split('\n').at(-1)!;
  const cause = last.replace(/^Cause: /, '').replace(/[.?]$/, '');
  const trace = await traced(from, to);
  assert.ok(trace.includes(cause), `${cause}\n${trace}`);
  return last;
}

test('nothing is in the way: every check passes, and a connection is made', async () => {
  const { status, stdout } = await why('pod/client', 'svc/web', 'http');
  assert.is(status, 0, stdout);
  assert.match(stdout, /ok +attempt +connected to 10\.\S+:80/);
  assert.match(stdout, /nothing is in the way of pod\/client and svc\/web\.\n$/);
  assert.not.match(await traced('pod/client', 'web:80'), 'Cause:');
  const json = JSON.parse(await output(why('outside', 'node/n1:30123', '-o', 'json'))) as { reachable: boolean };
  assert.ok(json.reachable);
});

test('a wrong name, and a service of another namespace', async () => {
  assert.match(
    await causeOf('pod/client', 'wbe:80'),
    /wbe is not a name: there is no service wbe in namespace default: did you mean web\?/,
  );
  assert.match(
    await causeOf('pod/client', 'cart:80'),
    /there is no service cart in namespace default: it is in shop, so use cart\.shop/,
  );
  assert.match(await causeOf('pod/client', 'svc/web:81'), /service web has no port 81\/TCP: it has 80 \(http\)/);
});

test('a service without endpoints: its selector, or the name of its target port', async () => {
  assert.match(
    await causeOf('pod/client', 'svc/empty:80'),
    /no pod in namespace default has the labels app=nobody \(pod \S+ has app=\S+\)/,
  );
  assert.match(
    await causeOf('pod/client', 'svc/named:80'),
    /its targetPort is "https", and no container of its pods names a port so/,
  );
});

test('a target port on which nothing listens, and a program that listens on 127.0.0.1 alone', async () => {
  assert.match(
    await causeOf('pod/client', 'svc/wrong:80'),
    /nothing in pod default\/server listens on port 9090 \(listened on: 8080\)/,
  );
  assert.match(await causeOf('pod/client', 'pod/inward:8080'), /port 8080 is listened on at 127\.0\.0\.1 alone/);
});

test('a NodePort whose Local policy has no endpoint on that node', async () => {
  assert.match(
    await causeOf('outside', 'node/n2:30123'),
    /traffic policy Local and no endpoint on this node: there are endpoints on n1/,
  );
});

test('a NetworkPolicy', async () => {
  const policy = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'deny' },
    spec: { podSelector: { matchLabels: { app: 'server' } }, policyTypes: ['Ingress'] },
  };
  await cluster.apply(policy);
  assert.match(
    await causeOf('pod/client', 'svc/web:80'),
    /NetworkPolicy default\/deny denies ingress of pod default\/server/,
  );
  await cluster.cli('delete', 'networkpolicy', 'deny');
});

test('a port that the pod does not declare, where the port policy wants that', async () => {
  await cluster.cli('config', 'set', 'port-policy=declared');
  await eventually(async () => {
    const { stdout } = await why('pod/client', 'pod/inward:8080');
    return /ends it as port-not-declared/.test(stdout) ? true : undefined;
  });
  assert.match(await traced('pod/client', 'pod/inward:8080'), /Cause: .*port-not-declared|port-not-declared.*Cause: /);
  await cluster.cli('config', 'set', 'port-policy=open');
});

test('a pod that changed its own address, or whose device is down', async () => {
  const inClient = (...args: string[]) => output(run(['ip', '-n', podNetns('client'), ...args]));
  const { status } = await cluster.get<{ status: { podIP: string } }>('pod', 'client');
  await inClient('address', 'add', '10.244.2.99/24', 'dev', 'eth0');
  assert.match(
    await causeOf('pod/client', 'svc/web:80'),
    new RegExp(`eth0 of pod default/client has ${status.podIP}, 10\\.244\\.2\\.99, not ${status.podIP} alone`),
  );
  await inClient('address', 'delete', '10.244.2.99/24', 'dev', 'eth0');
});

test('a device whose packets are larger than the path takes', async () => {
  const inClient = (...args: string[]) => output(run(['ip', '-n', podNetns('client'), ...args]));
  await inClient('link', 'set', 'eth0', 'mtu', '1500');
  assert.match(await causeOf('pod/client', 'svc/web:80'), /eth0 of pod client has MTU 1500, .*fragmentation-needed/);
  await inClient('link', 'set', 'eth0', 'mtu', '1450');
});

const onNode = (node: string, ...command: string[]) =>
  output(run(['ip', 'netns', 'exec', `dp-node-${node}`, ...command]));

test('a node that is down: its device to the other nodes', async () => {
  await onNode('n1', 'ip', 'link', 'set', 'eth0', 'down');
  try {
    const cause = await causeOf('pod/client', 'pod/server:8080');
    assert.is(cause, 'Cause: node n2 sends it, but eth0 of node n1 is down.');
    assert.match(
      await traced('pod/client', 'pod/server:8080'),
      /note: eth0 of node n1 is down .*the packet is not delivered/,
    );
    assert.match(await causeOf('outside', 'node/n1:30123'), /Cause: eth0 of node n1 is down/);
  } finally {
    await onNode('n1', 'ip', 'link', 'set', 'eth0', 'up');
  }
  await eventually(async () => ((await why('pod/client', 'svc/web:80')).status === 0 ? true : undefined));
});

test('a firewall on a node: the rule that drops the overlay’s packets, or those of the node’s own programs', async () => {
  const rules = (device: string, hook: string, rule: string) =>
    `table ${device === '' ? 'ip' : 'netdev'} site {\n  chain wall {\n    type filter hook ${hook} ${device} priority -500;\n    ${rule}\n  }\n}\n`;
  const behind = async (table: string, text: string, work: () => Promise<void>) => {
    const file = join(mkdtempSync(join(tmpdir(), 'why-')), 'rules.nft');
    writeFileSync(file, text);
    await onNode('n1', 'nft', '-f', file);
    try {
      await work();
    } finally {
      await onNode('n1', 'nft', 'delete', 'table', table, 'site');
      rmSync(dirname(file), { recursive: true });
    }
  };
  const udp = rules('device "eth0"', 'ingress', 'ip saddr 172.18.0.0/24 udp dport { 4789, 8472 } counter drop');
  await behind('netdev', udp, async () => {
    const rule =
      'the firewall of node n1 drops it: ip saddr 172.18.0.0/24 udp dport { 4789, 8472 } drop (chain netdev site wall)';
    assert.is(await causeOf('pod/client', 'svc/web:80'), `Cause: node n2 sends it, but ${rule}.`);
    assert.match(await traced('pod/client', 'svc/web:80'), `note: ${rule}`);
  });
  const own = rules('', 'output', 'ip daddr 10.244.0.0/16 tcp dport 8080 drop');
  await behind('ip', own, async () => {
    assert.match(
      await causeOf('node/n1', 'pod/server:8080'),
      /Cause: the firewall of node n1 drops it: ip daddr 10\.244\.0\.0\/16 tcp dport 8080 drop \(chain ip site wall\)/,
    );
    assert.is((await why('pod/client', 'svc/web:80')).status, 0, 'packets of pods do not pass that chain');
  });
});

test('a pod that does not run, or does not exist', async () => {
  assert.match(await causeOf('pod/client', 'pod/nobody:80'), /there is no pod nobody in namespace default/);
  await cluster.apply(processPod('broken', 'n1', ['false']));
  await eventually(async () => {
    const { stdout } = await why('pod/client', 'pod/broken:80');
    return /Cause: .*(container \S+ (exited with status 1|waits: CrashLoopBackOff)|pod default\/broken is)/.test(
      stdout,
    ) || /nothing in pod default\/broken listens/.test(stdout)
      ? true
      : undefined;
  });
});

test('a pod that holds its whole share of the connection table', async () => {
  const { status } = await cluster.get<{ status: { podIP: string } }>('pod', 'server');
  const sockets: Socket[] = [];
  try {
    for (let i = 0; i < 420; i++) {
      const socket = connectInNamespace(`/run/netns/${podNetns('client')}`, status.podIP, 8080);
      socket.on('error', () => {});
      // Answered, so that the entry is not evicted.
      socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
      sockets.push(socket);
    }
    await eventually(async () => {
      const { stdout } = await why('pod/client', 'svc/web:80');
      return /Cause: a pod of node n\d holds its whole share of the connection table/.test(stdout) ? true : undefined;
    });
    assert.match(
      await traced('pod/client', 'svc/web:80'),
      /Cause: a pod of node n\d holds its whole share of the connection table/,
    );
  } finally {
    for (const socket of sockets) socket.destroy();
  }
});

test.run();
