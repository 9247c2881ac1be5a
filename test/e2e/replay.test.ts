/** `dataplane snapshot` and `replay`: what live nodes did to live traffic comes out again, without root. */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ReplayReport } from '../../src/observe/replay/compare.ts';
import { type Cluster, dataplane, MAIN, processPod, ROOT, run } from '../lib/cluster.ts';
import { RunningCommand } from '../lib/running-command.ts';
import { CLIENT, serving, startWebAndClient } from '../lib/web-and-client.ts';

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
  cluster = await startWebAndClient(LISTENER, { args: ['--workers', '1'], manifests: [second] });
});

test.after(async () => {
  rmSync(directory, { recursive: true });
  await cluster?.down();
});

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
    for (let i = 0; i < 12; i++) {
      await curl('http://10.96.4.1/');
      await curl('http://10.96.4.2/');
      await cluster.exec(CLIENT, ['ping', '-c1', '-W1', '10.244.2.1']);
    }
    assert.is((await slow).status, 0, 'the download goes on while workers pause');
  } finally {
    await recording.stop();
  }
  assert.match(recording.stderr, / 0 lost/);
  const { status, stdout, stderr } = await dataplane(['replay', snapshot, capture, '-o', 'json']);
  const report = JSON.parse(stdout) as ReplayReport;
  assert.equal(report.differences, [], stderr);
  assert.is(status, 0);
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
  const as = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', process.execPath, MAIN];
  const { status, stdout } = await run([...as, 'replay', snapshot, capture, '--diff', join(ROOT, 'dist')]);
  assert.is(status, 0, stdout);
  assert.match(stdout, /^(\d+) of \1 are the same as /m);
  const contents = await run([...as, 'replay', snapshot]);
  assert.match(contents.stdout, /^Node n1 at .*: conntrack \d+ KiB, /m);
});

test('files of another kind are refused', async () => {
  for (const [args, message] of [
    [['replay', capture, capture], 'it is not a snapshot of this version'],
    [['replay', snapshot, join(directory, 'nothing')], 'cannot be read'],
    [['replay', snapshot, capture, '--diff', directory], 'has no bundle/pipeline.js'],
    [['snapshot', snapshot, '--duration', '3s'], '--duration needs --capture'],
  ] as const) {
    const { status, stderr } = await dataplane(args);
    assert.is.not(status, 0);
    assert.match(stderr, message);
  }
  assert.ok(readFileSync(snapshot).length < 20_000_000, 'holes are left out');
});

test.run();
