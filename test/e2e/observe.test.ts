/** What can be seen of a running cluster: flows, metrics, drops and load, and that they agree with each other. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { NodeStatus } from '../../src/cli/sources/status.ts';
import { API_SOCKET } from '../../src/cluster/state.ts';
import type { Flow, FlowResponse } from '../../src/observe/hubble/flow.ts';
import type { WalkView, WhatIfAnswer } from '../../src/ui/protocol.ts';
import { clientTest } from '../lib/client-program.ts';
import { type Cluster, dataplane, eventually, nodeNetns, output, run } from '../lib/cluster.ts';
import { type Metric, parseExposition, seriesValue } from '../lib/exposition.ts';
import { RunningCommand } from '../lib/running-command.ts';
import { serviceObject } from '../lib/services/services.ts';
import { UiClient } from '../lib/ui-client.ts';
import { CLIENT, PORT, startWebAndClient } from '../lib/web-and-client.ts';

const test = suite('observe');
let cluster: Cluster;
/** Lines that `observe -f -o jsonpb` wrote, and the file that has them. */
let lines: string[] = [];
const directory = mkdtempSync(join(tmpdir(), 'observe-'));
const file = join(directory, 'flows.json');

test.before(async () => {
  cluster = await startWebAndClient("(q, r) => r.end('x'.repeat(100000))");
});

test.after(async () => {
  rmSync(directory, { recursive: true });
  await cluster?.down();
});

const refusedByNone = () => cluster.exec(CLIENT, ['curl', '-s', '-m5', 'http://10.96.4.2/']);

/** Output of `dataplane observe -f …` while `work` runs, as lines. */
async function observed(args: readonly string[], work: () => Promise<unknown>): Promise<string[]> {
  const following = new RunningCommand('observe', '-f', ...args);
  try {
    // It follows as soon as a connection is seen.
    await eventually(async () => {
      await cluster.fetch(CLIENT, 'http://10.96.4.1/');
      return following.stdout !== '' || undefined;
    }, 20_000);
    await work();
    await new Promise((resolve) => setTimeout(resolve, 1000));
  } finally {
    await following.stop();
  }
  return following.stdout.trim().split('\n');
}

const flows = (): Flow[] => lines.flatMap((line) => (JSON.parse(line) as FlowResponse).flow ?? []);

test('a connection is seen at both nodes, with pods and Service, and a refused one as a drop', async () => {
  lines = await observed(['-o', 'jsonpb'], refusedByNone);
  writeFileSync(file, `${lines.join('\n')}\n`);
  const opened = flows().filter(({ l4, is_reply }) => l4?.TCP?.flags?.SYN && is_reply === false);
  const at = (node: string) => opened.find(({ node_name }) => node_name === node);
  assert.is(at('n2')?.trace_observation_point, 'TO_OVERLAY');
  assert.is(at('n1')?.trace_observation_point, 'TO_ENDPOINT');
  assert.equal(at('n2')?.destination_service, { name: 'web', namespace: 'default' });
  for (const flow of [at('n1'), at('n2')]) {
    assert.is(flow?.source?.pod_name, 'client');
    assert.is(flow?.destination?.pod_name, 'web');
    assert.is(flow?.l4?.TCP?.destination_port, 8080);
  }
  const answers = flows().filter(({ is_reply, l4 }) => is_reply && l4?.TCP?.flags?.SYN);
  assert.ok(answers.some(({ source }) => source?.pod_name === 'web'));
  const drop = flows().find(({ verdict }) => verdict === 'DROPPED');
  assert.is(drop?.drop_reason_desc, 'SERVICE_BACKEND_NOT_FOUND');
  assert.is(drop?.node_name, 'n2');
  assert.is(drop?.source?.pod_name, 'client');
  assert.equal(drop?.destination_service, { name: 'none', namespace: 'default' });
  assert.is(drop?.l4?.TCP?.destination_port, 80);
});

const resolving = (name: string): string[] => [
  process.execPath,
  '-e',
  `const { Resolver } = require('dns').promises;
   const resolver = new Resolver({ timeout: 3000, tries: 2 });
   resolver.setServers(['10.96.0.10']);
   resolver.resolve4('${name}').then(() => 0, () => 0);`,
];

test("a pod's queries and their answers are flows, and with --http requests and responses, each once", async () => {
  const written = await observed(['--http', '--type', 'l7', '-o', 'jsonpb'], async () => {
    await cluster.exec(CLIENT, resolving('web.default.svc.cluster.local'));
    await cluster.exec(CLIENT, resolving('none.example.com'));
    await cluster.exec(CLIENT, ['curl', '-s', '-m5', 'http://10.96.4.1/cart?id=1']);
  });
  const seen = written.flatMap((line) => (JSON.parse(line) as FlowResponse).flow ?? []);
  const dns = seen.filter(({ l7 }) => l7?.dns?.query === 'web.default.svc.cluster.local.');
  assert.equal(
    dns.map(({ l7 }) => l7?.type),
    ['REQUEST', 'RESPONSE'],
  );
  const [query, answer] = dns;
  assert.equal(answer?.l7?.dns?.ips, ['10.96.4.1']);
  assert.ok(Number(answer?.l7?.latency_ns) > 0);
  assert.equal([query?.source?.pod_name, answer?.destination?.pod_name], ['client', 'client']);
  assert.equal([query?.node_name, answer?.node_name], ['n2', 'n2']);
  assert.equal([query?.destination?.identity, answer?.source?.identity], [1, 1], 'the name server is on the node');
  assert.equal(answer?.source_service, { name: 'kube-dns', namespace: 'kube-system' });
  const missing = seen.find(({ l7 }) => l7?.dns?.query === 'none.example.com.' && l7.type === 'RESPONSE');
  assert.is(missing?.l7?.dns?.rcode, 3);

  const http = seen.filter(({ l7 }) => l7?.http?.url === 'http://10.96.4.1/cart?id=1');
  assert.equal(
    http.map(({ node_name, l7 }) => [node_name, l7?.type, l7?.http?.method, l7?.http?.code]),
    [
      ['n1', 'REQUEST', 'GET', undefined],
      ['n1', 'RESPONSE', 'GET', 200],
    ],
  );
  assert.equal([http[0]?.source?.pod_name, http[0]?.destination?.pod_name], ['client', 'web']);
  const { status, stderr } = await dataplane(['observe', '--http']);
  assert.is(status, 2);
  assert.match(stderr, '--http needs --follow or --serve');
});

test('a connection that a policy denies is seen as its verdict and as a drop, with the policy, and as events on both pods', async () => {
  const policy = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'deny-all', namespace: 'default' },
    spec: { podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Ingress'] },
  };
  const denied = () => cluster.exec(CLIENT, ['curl', '-s', '-m2', 'http://10.96.4.1/']);
  await cluster.apply(policy);
  await eventually(async () => (await denied()).status === 28 || undefined);
  try {
    const past = (...args: string[]) => cluster.cli('observe', '--all', '--from-pod', 'client', ...args);
    const verdicts = await past('--type', 'policy-verdict', '--print-policy-names');
    assert.match(
      verdicts,
      /default\/client:\d+ \(ID:\d+\) -> default\/web:8080 \(ID:\d+\) policy-verdict:none INGRESS DENIED BY deny-all \(NetworkPolicy\) \(TCP Flags: SYN\)\n/,
    );
    const drops = await past('--drop-reason-desc', 'POLICY_DENIED', '-o', 'jsonpb');
    const { flow } = JSON.parse(drops.split('\n')[0] ?? '') as FlowResponse;
    const names = await past('--drop-reason-desc', 'policy-ingress');
    assert.match(
      names,
      ' Policy denied DROPPED (policy-ingress by default/deny-all',
      'our name of it selects the same',
    );
    assert.equal(flow?.ingress_denied_by, [{ name: 'deny-all', namespace: 'default', kind: 'NetworkPolicy' }]);
    assert.is(flow?.destination?.pod_name, 'web');
    assert.equal(flow?.destination_service, { name: 'web', namespace: 'default' });
    assert.match(await cluster.cli('status', '--drops'), /default\/client:\d+ .* Policy denied DROPPED/);
    const event =
      /Warning +PolicyDenied .* ingress is denied by default\/deny-all \(no rule allows it\) \(policy-ingress\)/;
    await eventually(async () => event.test(await cluster.cli('describe', 'pod', 'client')) || undefined);
    const described = await cluster.cli('describe', 'pod', 'client');
    assert.match(described, /Warning +NoEndpoint .*service default\/none:80/);
    assert.match(described, /^Drops:\n {2}.*\[n2\]: default\/client:\d+ /m);
    assert.match(described, /^ {2}policy-ingress: See `dataplane policy explain FROM TO`/m);
  } finally {
    await cluster.cli('delete', 'networkpolicy', 'deny-all');
  }
  await cluster.fetch(CLIENT, 'http://10.96.4.1/', '--retry', '20', '--retry-connrefused');
});

test('a packet with a source address that is not its pod’s is a drop of the pod that sent it', async () => {
  const inPod = (...command: string[]) => run(['ip', 'netns', 'exec', 'dp-pod-default-client', ...command]);
  await inPod('ip', 'addr', 'add', '192.0.2.9/32', 'dev', 'lo');
  await inPod('curl', '-s', '-m1', '--interface', '192.0.2.9', 'http://10.96.4.1/');
  await inPod('ip', 'addr', 'del', '192.0.2.9/32', 'dev', 'lo');
  const [line = ''] = (await cluster.cli('observe', '--all', '--drop-reason-desc', 'spoofed-source-ip')).split('\n');
  assert.match(
    line,
    /: default\/client:\d+ \(ID:\d+\) .* Invalid source ip DROPPED \(spoofed-source-ip with source 192\.0\.2\.9: TCP Flags: SYN\)$/,
  );
});

test('a packet without addresses is a drop of the pod that sent it', async () => {
  // IEEE 802 reserves this EtherType for experiments.
  const script = `import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth0', 0))
s.send(b'\\xff' * 6 + b'\\x02' * 6 + b'\\x88\\xb5' + bytes(46))`;
  await output(run(['ip', 'netns', 'exec', 'dp-pod-default-client', 'python3', '-c', script]));
  const drops = () => cluster.cli('observe', '--all', '--drop-reason-desc', 'ethertype-unknown');
  const named = / \(ethertype-unknown from default\/client: Neither IPv4, IPv6 nor ARP\.\)$/m;
  await eventually(async () => named.test(await drops()) || undefined);
});

test('recorded flows are shown again, from the nodes and from a file', async () => {
  const past = await cluster.cli(
    'observe',
    '--last',
    '2',
    '--tcp-flags',
    'syn',
    '--type',
    'trace',
    '--pod',
    'client',
    '--print-node-name',
  );
  assert.is(past.trim().split('\n').length, 2);
  assert.match(past, / \[n[12]\]: default\/client:\d+ \(ID:\d+\) (->|<-) default\/web:8080 \(ID:\d+\) to-/);
  const syns = [
    'observe',
    '--input-file',
    file,
    '--all',
    '--type',
    'trace',
    '--tcp-flags',
    'syn',
    '--not',
    '--tcp-flags',
    'ack',
  ];
  const fromFile = (await cluster.cli(...syns)).trim().split('\n');
  assert.ok(fromFile.length >= 2);
  assert.ok(fromFile.every((line) => line.endsWith('(TCP Flags: SYN)')));
});

// HUBBLE: Hubble's command line (github.com/cilium/hubble), built outside this repository.
clientTest(test, 'HUBBLE', 'the hubble program reads the flows and prints the same lines', async (program) => {
  for (const filter of [
    [],
    ['--pod', 'client'],
    ['--verdict', 'DROPPED'],
    ['--to-service', 'web'],
    ['--port', '8080'],
  ]) {
    const args = ['observe', '--input-file', file, '--all', '--print-node-name', ...filter];
    const own = await cluster.cli(...args);
    assert.is(await output(run([program, ...args])), own, filter.join(' '));
  }
});

clientTest(test, 'HUBBLE', 'the hubble program reads live flows and status from the service', async (program) => {
  const socket = join(directory, 'hubble.sock');
  const server = new RunningCommand('observe', '--serve', `unix:${socket}`);
  try {
    await server.started(/^serving the flows/m);
    await cluster.fetch(CLIENT, 'http://10.96.4.1/');
    await refusedByNone();
    const hubble = (...args: string[]) => output(run([program, ...args, '--server', `unix://${socket}`]));
    const syn = [
      '--from-pod',
      'default/client',
      '--to-service',
      'default/web',
      '--tcp-flags',
      'SYN',
      '--print-node-name',
    ];
    await eventually(async () => {
      const lines = await hubble('observe', ...syn);
      return /\[n2\]: default\/client:\d+ .* default\/web:8080 .* to-overlay FORWARDED/.test(lines) || undefined;
    });
    assert.match(await hubble('observe', '--verdict', 'DROPPED'), 'Service backend not found DROPPED');
    assert.match(await hubble('status'), 'Connected Nodes: 2/2');
    assert.match(await hubble('list', 'nodes'), /^n2 +Connected /m);
  } finally {
    await server.stop();
  }
  assert.is((await dataplane(['observe', '--serve', '0.0.0.0:4245'])).status, 2);
});

const scrape = async (node: string): Promise<Map<string, Metric>> =>
  parseExposition(
    await output(cluster.exec(nodeNetns(node), ['curl', '-sS', '--fail', 'http://127.0.0.1:10249/metrics'])),
  );

const statusOf = async (name: string): Promise<NodeStatus> => {
  const { nodes } = await cluster.status();
  const node = nodes.find((one) => one.name === name);
  if (node === undefined) throw new Error(`there is no node ${name}`);
  return node;
};

test("an agent's metrics agree with `status`", async () => {
  const before = await statusOf('n2');
  const metrics = await scrape('n2');
  const after = await statusOf('n2');
  for (const { id, framesIn } of before.workers) {
    const value = seriesValue(metrics, 'dataplane_received_frames_total', { worker: String(id) }) ?? -1;
    assert.ok(value >= framesIn && value <= (after.workers[id]?.framesIn ?? 0));
  }
  const refused = before.workers.reduce((sum, { drops }) => sum + (drops['rejected-tcp-reset'] ?? 0), 0);
  assert.ok(refused > 0);
  const labels = { reason: 'rejected-tcp-reset', outcome: 'refused' };
  assert.is(seriesValue(metrics, 'dataplane_drops_total', labels), refused);
  const cilium = { reason: 'Service backend not found', direction: 'UNKNOWN' };
  assert.is(seriesValue(metrics, 'cilium_drop_count_total', cilium), refused);
  assert.is(seriesValue(metrics, 'dataplane_conntrack_max_entries'), before.conntrack.max);
  assert.is(seriesValue(metrics, 'dataplane_forwarding'), 1);
});

test('a change of endpoints is timed from the controller to the node', async () => {
  const count = 'kubeproxy_network_programming_duration_seconds_count';
  const before = seriesValue(await scrape('n2'), count) ?? 0;
  await cluster.apply(serviceObject('more', 'web', { clusterIP: '10.96.4.3', ports: [PORT] }));
  await eventually(async () => (seriesValue(await scrape('n2'), count) ?? 0) > before || undefined);
  const sum = seriesValue(await scrape('n2'), 'kubeproxy_network_programming_duration_seconds_sum') ?? 0;
  assert.ok(sum < 30, `${sum} s`);
});

test('the API has metrics of its requests and objects', async () => {
  const text = await output(run(['curl', '-sS', '--fail', '--unix-socket', API_SOCKET, 'http://localhost/metrics']));
  const metrics = parseExposition(text);
  assert.is(seriesValue(metrics, 'apiserver_storage_objects', { resource: 'nodes' }), 2);
  assert.ok(
    (seriesValue(metrics, 'apiserver_request_total', { verb: 'LIST', resource: 'pods', code: '200' }) ?? 0) > 0,
  );
});

test('`status --drops` names reason, number and advice', async () => {
  const [first, second] = JSON.parse(await cluster.cli('status', '--drops', '-o', 'json')) as {
    node: string;
    since: string;
    drops: { reason: string; outcome: string; packets: number; advice: string }[];
  }[];
  assert.equal([first?.node, second?.node], ['n1', 'n2']);
  assert.ok(Math.abs(Date.now() - Date.parse(second?.since ?? '')) < 600_000);
  const refused = second?.drops.find(({ reason }) => reason === 'rejected-tcp-reset');
  assert.is(refused?.outcome, 'refused');
  assert.match(refused?.advice ?? '', 'no ready endpoint');
  assert.match(await cluster.cli('status', '--drops'), /^ {2}rejected-tcp-reset: \d+ refused$/m);
});

test('`top --once` has the busiest connection by name', async () => {
  const [json] = await Promise.all([
    cluster.cli('top', '--once', '--interval', '2s', '-o', 'json'),
    (async () => {
      for (let i = 0; i < 10; i++) {
        await new Promise((resolve) => setTimeout(resolve, 200));
        await cluster.fetch(CLIENT, 'http://10.96.4.1/');
      }
    })(),
  ]);
  const load = JSON.parse(json) as {
    nodes: { node: string; bytesInPerSecond: number }[];
    flows: { protocol: string; original: { dst: string }; bytesPerSecond: number }[];
  };
  assert.equal(load.nodes.map(({ node }) => node).sort(), ['n1', 'n2']);
  assert.ok(load.nodes.every(({ bytesInPerSecond }) => bytesInPerSecond > 1000));
  assert.is(load.flows[0]?.protocol, 'tcp');
  const { status, stderr } = await dataplane(['top', '-o', 'json']);
  assert.is(status, 2);
  assert.match(stderr, '--once');
});

test('`ui`: topology, edges with their traffic, filtered flows, the walk of a packet and what a manifest would change', async () => {
  const page = new UiClient();
  try {
    await page.open('--verdict DROPPED');
    const edge = (to: string) => [...page.edges.values()].find(({ id }) => id.startsWith(`pod:default/client ${to}`));
    await eventually(async () => {
      await cluster.fetch(CLIENT, 'http://10.96.4.1/');
      await refusedByNone();
      const complete = (edge('svc:default/web')?.opened ?? 0) > 0 && edge('svc:default/none') !== undefined;
      return (complete && page.flows.length > 0) || undefined;
    }, 20_000);
    const { pods = [], services = [], nodes = [] } = page.topology ?? {};
    assert.equal(
      nodes.map(({ name, ready }) => `${name} ${ready}`),
      ['n1 true', 'n2 true'],
    );
    assert.is(pods.find(({ name }) => name === 'client')?.node, 'n2');
    assert.equal(services.find(({ name }) => name === 'web')?.endpoints, ['pod:default/web']);
    await eventually(async () => {
      await cluster.fetch(CLIENT, 'http://10.96.4.1/');
      return (edge('svc:default/web')?.bytesPerSecond ?? 0) > 0 || undefined;
    }, 20_000);
    const refused = edge('svc:default/none');
    assert.equal([refused?.lastDrop, refused?.opened, refused?.port], ['rejected-tcp-reset', 0, 80]);
    assert.ok(page.flows.every(({ dropped }) => dropped));

    const walk = await page.ask<WalkView>('walk', { ...edge('svc:default/web')?.sample, srcPort: 39_999 });
    assert.equal([walk.to, walk.answered], ['pod default/web', 'pod default/client']);
    const translate = walk.nodes[0]?.steps.find(({ stage }) => stage === 'translate');
    assert.ok(translate !== undefined && translate.before !== translate.after && translate.before.length > 100);

    const deny = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: deny }
spec: { podSelector: { matchLabels: { app: web } }, policyTypes: [Ingress] }`;
    const { changes } = await page.ask<WhatIfAnswer>('what-if', { manifest: deny });
    assert.ok(
      changes.some(({ from, to, effect }) => `${from} ${to} ${effect}` === 'pod default/client pod default/web denied'),
      JSON.stringify(changes),
    );
    const { text } = await page.ask<{ text: string }>('manifest', {
      kind: 'Service',
      namespace: 'default',
      name: 'web',
    });
    const gone = await page.ask<WhatIfAnswer>('what-if', { manifest: text, remove: true });
    assert.ok(gone.changes.some(({ effect }) => effect === 'unreachable'));
    await cluster.fetch(CLIENT, 'http://10.96.4.1/');
  } finally {
    assert.is(await page.close(), 0);
  }
});

test.run();
