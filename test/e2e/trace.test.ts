/** `dataplane trace` in a real cluster: its prediction is what happens then, and it changes nothing. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { macOf } from '../../src/net/pod-network.ts';
import type { NodeTrace } from '../../src/observe/trace/step.ts';
import { type Cluster, dataplane, eventually, podNetns, processPod, startCluster } from '../lib/cluster.ts';
import { writeCapture } from '../lib/frames/capture-file.ts';
import { frame } from '../lib/frames/frame-text.ts';

const SERVE = "require('http').createServer((q, r) => r.end(process.argv[1])).listen(8080);";

const service = (name: string, clusterIP: string, app: string) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default' },
  spec: { type: 'NodePort', selector: { app }, clusterIP, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
});

const test = suite('trace');
let cluster: Cluster;

test.before(async () => {
  cluster = await startCluster({
    args: ['--nodes', '2'],
    manifests: [
      processPod('web', 'n1', [process.execPath, '-e', SERVE, 'web']),
      processPod('client', 'n2', ['sleep', '1000']),
      service('web', '10.96.4.1', 'web'),
      service('none', '10.96.4.2', 'nobody'),
    ],
  });
  await cluster.fetch(podNetns('client'), 'http://10.96.4.1/', '--retry', '20', '--retry-connrefused');
});

test.after(async () => {
  await cluster?.down();
});

const trace = async (...args: string[]): Promise<NodeTrace[]> =>
  JSON.parse(await cluster.cli('trace', ...args, '-o', 'json')) as NodeTrace[];

interface Flow {
  original: { dst: string; srcPort: number };
  reply: { src: string; srcPort: number };
}

/** Connections of the client's node to the Service. */
const flowsToWeb = async (): Promise<Flow[]> => {
  const flows = JSON.parse(await cluster.cli('conntrack', '--node', 'n2', '-o', 'json')) as Flow[];
  return flows.filter(({ original }) => original.dst === '10.96.4.1');
};

const stepOf = (traces: NodeTrace[], stage: string) =>
  traces.flatMap(({ steps }) => steps).find((step) => step.stage === stage);

test('a Service on another node: the trace predicts endpoint, overlay and reply path of a later curl', async () => {
  const connections = await cluster.cli('conntrack', 'count', '-o', 'json');
  const traces = await trace('pod/client', '--to', 'svc/web:80');
  assert.equal(
    traces.map(({ node, direction, verdict }) => `${direction} ${node} ${verdict}`),
    ['original n2 encapsulated', 'original n1 forwarded', 'reply n1 encapsulated', 'reply n2 forwarded'],
  );
  const row = stepOf(traces, 'service')?.row;
  assert.is(row?.service, 'default/web:http');
  assert.is(await cluster.cli('conntrack', 'count', '-o', 'json'), connections, 'nothing was tracked');
  assert.is(await cluster.fetch(podNetns('client'), 'http://10.96.4.1/'), 'web');
  assert.ok((await flowsToWeb()).some(({ reply }) => `${reply.src}:${reply.srcPort}` === row?.endpoint));
});

test('a Service without endpoints: the connection is rejected, and the explanation has the selector', async () => {
  const [refused, ...more] = await trace('pod/client', '--to', 'svc/none');
  assert.is(refused?.verdict, 'rejected-tcp-reset');
  assert.equal(more, []);
  assert.match(refused?.wouldDiffer.join('\n') ?? '', 'its selector app=nobody matches 0 pods');
  const { status } = await cluster.exec(podNetns('client'), ['curl', '-s', '-m5', 'http://10.96.4.2/']);
  assert.is(status, 7, 'curl is refused');
});

test('a NodePort from outside, through the node without the endpoint', async () => {
  const { spec } = await cluster.get<{ spec: { ports: { nodePort: number }[] } }>('service', 'web');
  const { nodePort } = spec.ports[0]!;
  const traces = await trace('outside', '--to', `node/n2:${nodePort}`);
  assert.equal(
    traces.map(({ node, verdict }) => `${node} ${verdict}`),
    ['n2 encapsulated', 'n1 forwarded', 'n1 encapsulated', 'n2 to-host'],
  );
  const text = await cluster.cli('trace', 'outside', '--to', `node/n2:${nodePort}`);
  assert.match(text, 'outside reaches pod default/web');
  assert.match(text, 'the reply of pod default/web arrives at outside (172.18.0.1)');
  assert.ok(
    text.split('\n').every((line) => line.length <= 80),
    text,
  );
});

test('a packet of an established connection is matched to it', async () => {
  const server = await cluster.get<{ status: { podIP: string } }>('pod', 'web');
  const line = await eventually(async () => {
    await cluster.fetch(podNetns('client'), 'http://10.96.4.1/');
    return (await flowsToWeb())[0];
  });
  const [first] = await trace(
    'pod/client',
    '--to',
    'svc/web:80',
    '--tcp-flags',
    'A',
    '--src-port',
    `${line.original.srcPort}`,
  );
  assert.match(stepOf([first!], 'flow')?.row?.text.join(' ') ?? '', /^record \d+/);
  assert.is(line.reply.src, server.status.podIP);
});

test('a frame in hexadecimal, and the same frame of a capture, start at the pod with its source address', async () => {
  const { status } = await cluster.get<{ status: { podIP: string } }>('pod', 'client');
  const text = `tcp ${status.podIP}:4000 > 10.96.4.1:80 S`;
  const bytes = frame(text, { srcMac: macOf(status.podIP), dstMac: macOf('10.244.2.1') });
  const inHex = await trace('--hex', Buffer.from(bytes).toString('hex'));
  assert.is(inHex[0]?.packet, text);
  assert.is(inHex[0]?.verdict, 'encapsulated');
  const directory = mkdtempSync(join(tmpdir(), 'trace-'));
  try {
    const file = join(directory, 'two.pcap');
    const at = { seconds: 1, nanoseconds: 0 };
    writeFileSync(
      file,
      writeCapture([
        { bytes: new Uint8Array(60), ...at },
        { bytes, ...at },
      ]),
    );
    const captured = await trace('--pcap', file, '--frame', '2');
    assert.equal(
      captured.map(({ node, verdict }) => `${node} ${verdict}`),
      inHex.map(({ node, verdict }) => `${node} ${verdict}`),
    );
    const beyond = await dataplane(['trace', '--pcap', file, '--frame', '3']);
    assert.is(beyond.status, 1);
    assert.match(beyond.stderr, 'has 2 frames');
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('unknown names and invalid arguments are refused', async () => {
  for (const [args, message] of [
    [['trace', 'pod/nobody', '--to', 'svc/web'], 'there is no pod nobody in namespace default'],
    [['trace', 'pod/client', '--to', 'svc/nothing'], 'there is no service nothing in namespace default'],
    [['trace', 'pod/client', '--to', '10.96.4.1'], '--to needs a port for tcp'],
    [['trace', 'pod/client'], '--to is missing'],
    [['trace', 'pod/client', '--hex', '00ff'], 'the frame has 2 bytes'],
  ] as const) {
    const { status, stderr } = await dataplane(args);
    assert.is.not(status, 0);
    assert.match(stderr, message);
  }
});

test.run();
