/** `dataplane snapshot` and `replay`: what live nodes did to live traffic comes out again, without root. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ReplayReport } from '../../src/observe/replay/compare.ts';
import { type Cluster, dataplane, MAIN, processPod, ROOT, run } from '../lib/cluster.ts';
import { RunningCommand } from '../lib/running-command.ts';
import { serviceObject } from '../lib/services/services.ts';
import { CLIENT, PORT, serving, startWebAndClient } from '../lib/web-and-client.ts';

/** Runs the command without root. */
const NOBODY = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', process.execPath, MAIN];
/** REPLAY_SECONDS=60 is the long form (`npm run test:replay`): connections expire by the clock meanwhile. */
const SECONDS = Number(process.env.REPLAY_SECONDS ?? 0);
const LISTENER = "(q, r) => r.end('x'.repeat(200000))";

const test = suite('replay');
let cluster: Cluster;
const directory = mkdtempSync(join(tmpdir(), 'replay-'));
const snapshot = join(directory, 'bug.snapshot');
const capture = join(directory, 'bug.pcapng');

test.before(async () => {
  const second = {
    ...processPod('web-2', 'n2', serving(LISTENER)),
    metadata: { name: 'web-2', namespace: 'default', labels: { app: 'web' } },
  };
  const udp = serviceObject('udp', 'web', {
    clusterIP: '10.96.4.3',
    ports: [{ port: 53, targetPort: 5353, protocol: 'UDP' }],
  });
  cluster = await startWebAndClient(LISTENER, { args: ['--workers', '1'], manifests: [second, udp] });
});

test.after(async () => {
  rmSync(directory, { recursive: true });
  await cluster?.down();
});

/** Of a connection that nobody answers, which expires after 30 s. */
const datagram = () =>
  cluster.exec(CLIENT, [
    process.execPath,
    '-e',
    `const socket = require('dgram').createSocket('udp4');
    socket.bind(40000, () => socket.send('x', 53, '10.96.4.3', () => socket.close()));`,
  ]);

const curl = (url: string, ...args: string[]) => cluster.exec(CLIENT, ['curl', '-s', '-m5', ...args, url]);

test('the recording of mixed traffic, which was under way when it began, comes out the same', async () => {
  const before = await cluster.status();
  // A download that lasts longer than the recording takes to begin, and then all kinds of connections.
  const slow = curl('http://10.96.4.1/', '--limit-rate', '20k', '-m', '20');
  await new Promise((resolve) => setTimeout(resolve, 500));
  const recording = new RunningCommand('snapshot', snapshot, '--capture', capture);
  try {
    await recording.started(/^recording frames/m);
    // Each connection goes to either node's endpoint, at random: enough of them that both have some.
    const endMs = performance.now() + SECONDS * 1000;
    await datagram();
    for (let i = 0; i < 12 || performance.now() < endMs; i++) {
      await curl('http://10.96.4.1/');
      await curl('http://10.96.4.2/');
      await cluster.exec(CLIENT, ['ping', '-c1', '-W1', '10.244.2.1']);
    }
    // Its connection has expired if the recording is long enough, so that an endpoint is chosen anew.
    await datagram();
    assert.is((await slow).status, 0, 'the download goes on while workers pause');
  } finally {
    await recording.stop();
  }
  assert.match(recording.stderr, / 0 lost/);
  const { status, stdout, stderr } = await dataplane(['replay', snapshot, capture, '-o', 'json']);
  const report = JSON.parse(stdout) as ReplayReport;
  assert.equal(report.differences, [], stderr);
  assert.is(status, 0);
  const again = JSON.parse((await dataplane(['replay', snapshot, capture, '-o', 'json'])).stdout) as ReplayReport;
  assert.is(again.digest, report.digest);
  if (SECONDS > 0) console.log(`${report.packets} packets of ${SECONDS} s, sha256 ${report.digest}`, report.verdicts);
  assert.ok(report.compared > 100, `${report.compared} packets`);
  assert.is(report.compared, report.packets);
  for (const verdict of ['forwarded', 'encapsulated', 'rejected-tcp-reset', 'ping-answered']) {
    assert.ok((report.verdicts[verdict] ?? 0) > 0, verdict);
  }
  const after = await cluster.status();
  assert.equal(
    after.nodes.map(({ name, workers }) => [name, workers.map(({ restarts }) => restarts)]),
    before.nodes.map(({ name, workers }) => [name, workers.map(({ restarts }) => restarts)]),
  );
});

test('it needs no root, and compares two builds', async () => {
  chmodSync(directory, 0o755);
  for (const file of [snapshot, capture]) chmodSync(file, 0o644);
  const { status, stdout } = await run([...NOBODY, 'replay', snapshot, capture, '--diff', join(ROOT, 'dist')]);
  assert.is(status, 0, stdout);
  assert.match(stdout, /^(\d+) of \1 are the same as /m);
  const named = await run([...NOBODY, 'replay', capture, '--tables', snapshot]);
  assert.is(named.status, 0, named.stderr);
  assert.match(named.stdout, /^(\d+) of \1 are the same as what was recorded/m);
  const contents = await run([...NOBODY, 'replay', snapshot]);
  assert.match(contents.stdout, /^Node n1 at .*: conntrack \d+ KiB, /m);
});

test('without the cluster: what other manifests would have changed, connection by connection, with the reason', async () => {
  const file = join(directory, 'change.json');
  const diff = async (object: object, ...more: string[]) => {
    writeFileSync(file, JSON.stringify(object));
    chmodSync(file, 0o644);
    return run([...NOBODY, 'replay', snapshot, capture, '--diff', file, ...more]);
  };
  const web = (selector: object) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web' },
    spec: { selector, ports: [PORT] },
  });
  const same = await diff(web({ app: 'web' }));
  assert.is(same.status, 0, `${same.stdout}${same.stderr}`);
  assert.match(same.stdout, /^(\d+) of \1 are the same with /m);
  const denied = await diff({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'closed' },
    spec: { podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Ingress'] },
  });
  assert.is(denied.status, 1, denied.stderr);
  assert.match(denied.stdout, /^n\d tcp 10\.244\.2\.\d+:\d+ > .* \(pod default\/client to /m);
  assert.match(
    denied.stdout,
    /: policy-ingress\n {2}because: a rule of default\/closed would have to allow ingress from pod default\/client/,
  );
  const deleted = JSON.parse((await diff(web({}), '--delete', '-o', 'json')).stdout) as ReplayReport;
  assert.ok(
    deleted.connections.some(({ node, actual, expected }) => node === 'n2' && actual.verdict !== expected.verdict),
  );
  for (const [object, message] of [
    [{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' } }, /ConfigMap default\/a has no part in a replay/],
    [processPod('new', 'n1', ['true']), /Pod default\/new is not in the snapshot/],
  ] as const) {
    const refused = await diff(object);
    assert.is(refused.status, 2);
    assert.match(refused.stderr, message);
  }
});

test('files of another kind are refused', async () => {
  for (const [args, message] of [
    [['replay', capture, capture], 'it is not a snapshot of this version'],
    [['replay', snapshot, join(directory, 'nothing')], 'cannot be read'],
    [['replay', snapshot, snapshot], 'cannot be read: neither pcap nor pcapng'],
    [['replay', '--tables', snapshot], 'CAPTURE is missing'],
    [['replay', snapshot, capture, '--diff', join(directory, 'nothing')], 'nothing'],
    [['snapshot', snapshot, '--duration', '3s'], '--duration needs --capture'],
  ] as const) {
    const { status, stderr } = await dataplane(args);
    assert.is.not(status, 0);
    assert.match(stderr, message);
  }
  assert.ok(readFileSync(snapshot).length < 20_000_000, 'holes are left out');
});

test.run();
