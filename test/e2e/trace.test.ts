/** `dataplane trace` in a real cluster: its prediction is what happens then, and it changes nothing. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { CapturedFrame } from '../../native-free-dataplane/capture/frame.ts';
import { CaptureReader } from '../../native-free-dataplane/capture/reader.ts';
import { macOf } from '../../src/net/pod-network.ts';
import type { Path } from '../../src/observe/trace/paths.ts';
import type { NodeTrace } from '../../src/observe/trace/step.ts';
import { type Cluster, dataplane, eventually } from '../lib/cluster.ts';
import { writeCapture } from '../lib/frames/capture-file.ts';
import { frame } from '../lib/frames/frame-text.ts';
import { RunningCommand } from '../lib/running-command.ts';
import { CLIENT, PORT, startWebAndClient } from '../lib/web-and-client.ts';

const test = suite('trace');
let cluster: Cluster;

test.before(async () => {
  const spec = { type: 'NodePort', ports: [{ ...PORT, name: 'http' }] } as const;
  cluster = await startWebAndClient("(q, r) => r.end('web')", { web: spec, none: spec });
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
  assert.is(await cluster.fetch(CLIENT, 'http://10.96.4.1/'), 'web');
  assert.ok((await flowsToWeb()).some(({ reply }) => `${reply.src}:${reply.srcPort}` === row?.endpoint));
});

test('a Service without endpoints: the connection is rejected, and the explanation has the selector', async () => {
  const [refused, ...more] = await trace('pod/client', '--to', 'svc/none');
  assert.is(refused?.verdict, 'rejected-tcp-reset');
  assert.equal(more, []);
  assert.match(refused?.wouldDiffer.join('\n') ?? '', 'its selector app=nobody matches 0 pods');
  const { status } = await cluster.exec(CLIENT, ['curl', '-s', '-m5', 'http://10.96.4.2/']);
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
    await cluster.fetch(CLIENT, 'http://10.96.4.1/');
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

test('a live packet is traced by the nodes that forward it, with names, and with what would have to differ if it is refused', async () => {
  const filter = 'tcp port 80 or tcp port 8080';
  const live = await new RunningCommand('trace', '--live', '-c', '4', '-o', 'json', filter).started(/^tracing on/m);
  await cluster.exec(CLIENT, ['curl', '-s', '-m5', 'http://10.96.4.2/']);
  await cluster.fetch(CLIENT, 'http://10.96.4.1/');
  const { stdout } = await live.ended;
  const traces = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as NodeTrace);
  assert.is(traces.length, 4);
  const [refused, syn, arriving] = traces;
  assert.equal([refused?.node, refused?.verdict], ['n2', 'rejected-tcp-reset']);
  assert.match(refused?.wouldDiffer.join() ?? '', 'its selector app=nobody matches 0 pods');
  assert.equal([syn?.node, syn?.verdict], ['n2', 'encapsulated']);
  assert.is(stepOf([syn!], 'service')?.row?.service, 'default/web:http');
  assert.match(stepOf([syn!], 'connect')?.row?.text[0] ?? '', /^new record/);
  assert.equal([arriving?.node, arriving?.verdict], ['n1', 'forwarded']);
  assert.match(stepOf([arriving!], 'decapsulate')?.source ?? '', /overlay\/vxlan\.ts:\d+$/);
});

function frames(file: string): CapturedFrame[] {
  const reader = new CaptureReader();
  reader.push(readFileSync(file));
  const found: CapturedFrame[] = [];
  for (let one = reader.next(); one !== undefined; one = reader.next()) found.push(one);
  return found;
}

test('the paths of a capture of ours: each node by itself; and steps as comments of its frames', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'paths-'));
  const file = join(directory, 'curl.pcapng');
  try {
    const capture = await new RunningCommand('capture', '--steps', '-w', file, 'tcp').started(/^capturing on/m);
    await cluster.fetch(CLIENT, 'http://10.96.4.1/');
    await new Promise((resolve) => setTimeout(resolve, 300));
    await capture.stop();
    const comments = frames(file)[0]?.options.comments?.join('\n') ?? '';
    assert.match(comments, /^Step: parse \(native-free-dataplane\/stages\/parse\.ts:\d+\)/m);
    assert.match(comments, /^Step: service .*Service default\/web:http/m);
    const paths = JSON.parse(await cluster.cli('trace', '--pcap', file, '--paths', '-o', 'json')) as Path[];
    const verdicts = paths.flatMap(({ nodes }) => nodes.map(({ node, verdict }) => `${node} ${verdict}`));
    for (const expected of ['n2 encapsulated', 'n1 forwarded', 'n1 encapsulated', 'n2 forwarded']) {
      assert.ok(verdicts.includes(expected), verdicts.join());
    }
    assert.ok(paths.every(({ nodes }) => nodes.length === 1));
    assert.match(await cluster.cli('trace', '--pcap', file, '--paths'), /^path 1: \d+ packets, first \d+: /);
    // A frame that a node's kernel handed over starts there, whatever its source address.
    const inside = frames(file).findIndex(({ source, options }) => source.name === 'n1/dp0' && options.flags === 1) + 1;
    const [first] = await trace('--pcap', file, '--frame', String(inside));
    assert.equal([first?.node, first?.steps[1]?.stage, first?.verdict], ['n1', 'decapsulate', 'forwarded']);
    const sent = frames(file).findIndex(({ options }) => options.flags === 2) + 1;
    const refused = await dataplane(['trace', '--pcap', file, '--frame', String(sent)]);
    assert.is(refused.status, 1);
    assert.match(refused.stderr, /^the frame is one that a node has sent, at n2\/dp0/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('unknown names and invalid arguments are refused', async () => {
  for (const [args, message] of [
    [['trace', 'pod/nobody', '--to', 'svc/web'], 'there is no pod nobody in namespace default'],
    [['trace', 'pod/client', '--to', 'svc/nothing'], 'there is no service nothing in namespace default'],
    [['trace', 'pod/client', '--to', '10.96.4.1'], '--to needs a port for tcp'],
    [['trace', 'pod/client', '--to', 'svc/web:99999'], 'TO svc/web:99999: expected a port from 1 to 65535'],
    [['trace', 'pod/client', '--to', '10.96.4.1:0'], 'TO 10.96.4.1:0: expected a port from 1 to 65535'],
    [['trace', 'pod/client'], '--to is missing'],
    [['trace', 'pod/client', '--hex', '00ff'], 'the frame has 2 bytes'],
    [['trace', '--live', '--to', 'svc/web'], '--to cannot be used with --live'],
    [['trace', 'pod/client', '--to', 'svc/web', '-c', '3'], '--count needs --live'],
    [['trace', '--live', 'tcp prt 80'], 'filter "tcp prt 80"'],
  ] as const) {
    const { status, stderr } = await dataplane(args);
    assert.is.not(status, 0);
    assert.match(stderr, message);
  }
});

test.run();
