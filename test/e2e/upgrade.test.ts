/** `dataplane upgrade`: builds that are as good, that differ in shadow, that crash; and connections through all of it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Pod } from '../../src/api/types/objects.ts';
import { programOf } from '../../src/cluster/upgrade/build.ts';
import type { UpgradeReport } from '../../src/cluster/upgrade/upgrade.ts';
import {
  type Cluster,
  dataplane,
  eventually,
  MAIN,
  output,
  podNetns,
  processPod,
  ROOT,
  startCluster,
} from '../lib/cluster.ts';
import { ContinuityWatch } from '../lib/continuity.ts';
import { agentPid, successor } from '../lib/node-processes.ts';

const CONNECTIONS = 300;
const NODES = ['n1', 'n2'];
const test = suite('upgrade');
const directory = mkdtempSync(join(tmpdir(), 'dataplane-builds-'));
let cluster: Cluster;
let watch: ContinuityWatch;

/** A copy of this build elsewhere, with a change. @param change of a file of the bundle @returns its folder dist */
function buildNamed(name: string, file = 'build.json', change = (text: string): string => text): string {
  const root = join(directory, name);
  const dist = join(root, 'dist');
  mkdirSync(root);
  cpSync(join(ROOT, 'dist/bundle'), join(dist, 'bundle'), { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(root, 'package.json'));
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
  const path = join(dist, 'bundle', file);
  const before = readFileSync(path, 'utf8');
  const after = change(before);
  if (file !== 'build.json') assert.is.not(after, before);
  writeFileSync(path, after);
  return dist;
}

const mainOf = (dist: string): string => join(dist, 'bundle/cli/main.js');
const upgrade = (dist: string, ...more: string[]) =>
  dataplane(['upgrade', '--to', dist, '--shadow', '1s', '--watch', '1s', ...more], { timeoutMs: 240_000 });

/** The programs of controller and agents. */
async function programs(): Promise<(string | undefined)[]> {
  const { controller } = await cluster.status();
  return [controller.pid, ...NODES.map(agentPid)].map(programOf);
}

/** @throws Error unless all parts run this program, and no assignment is left */
async function runsEverywhere(main: string): Promise<void> {
  assert.equal(await programs(), [main, main, main]);
  for (const node of NODES) assert.not(existsSync(`/run/dataplane/nodes/${node}/build.json`));
}

test.before(async () => {
  const sleeper = ['sleep', 'infinity'];
  cluster = await startCluster({
    args: ['--nodes', '2'],
    manifests: [processPod('near', 'n1', sleeper), processPod('far', 'n2', sleeper)],
  });
  const far = await cluster.get<Pod>('pod', 'far');
  watch = new ContinuityWatch(podNetns('near'), podNetns('far'), far.status!.podIP!, CONNECTIONS);
  await watch.ready();
});

test.after(async () => {
  watch?.end();
  await cluster?.down();
  rmSync(directory, { recursive: true, force: true });
});

test('a build with another connection table is refused before anything stops, with what it would cost', async () => {
  const agents = NODES.map(agentPid);
  const dist = buildNamed('layout', 'build.json', (text) => text.replace(/"conntrack":\d+/, '"conntrack":99'));
  const { status, stderr } = await upgrade(dist);
  assert.is(status, 1);
  assert.match(
    stderr,
    /another layout of the connection table: all connections would end \(\d{3} on n1, \d{3} on n2\)/,
  );
  assert.match(stderr, 'accept it with --lose-connections');
  assert.equal(NODES.map(agentPid), agents);
});

test('a build that drops every tenth packet is refused in shadow, and nothing is changed', async () => {
  const agents = NODES.map(agentPid);
  const wrapped = `= { ...bundled, processFrame: (pkt, dp, nowMs) =>
    (globalThis.count = (globalThis.count ?? 0) + 1) % 10 === 0 ? bundled.Verdict.NO_ROUTE : bundled.processFrame(pkt, dp, nowMs) };`;
  const dist = buildNamed('drops', 'pipeline.js', (text) => text.replace('= bundled;', wrapped));
  const { status, stderr } = await upgrade(dist);
  assert.is(status, 1, stderr);
  assert.match(stderr, /n[12]: .*(forwarded|encapsulated) now, no-route by the new build/);
  const [, different = '', compared = ''] =
    /(\d+) of (\d+) packets differ in shadow; nothing was changed/.exec(stderr) ?? [];
  assert.ok(Number(compared) > 100, stderr);
  assert.ok(Number(different) >= Math.floor(Number(compared) / 10), stderr);
  assert.equal(NODES.map(agentPid), agents);
});

test('a build whose agent ends after it has taken over is rolled back; no connection is lost', async () => {
  const dist = buildNamed('crashes', 'cli/main.js', (text) =>
    text.replace(
      '\n',
      `
import { readFileSync as readText } from 'node:fs';
if (process.argv[2] === 'agent') setInterval(() => {
  try {
    const node = process.argv[process.argv.indexOf('--node') + 1];
    const { pid } = JSON.parse(readText('/run/dataplane/nodes/' + node + '/dataplane.json', 'utf8'));
    if (pid === process.pid) setTimeout(() => process.kill(process.pid, 'SIGKILL'), 500);
  } catch {}
}, 50);
`,
    ),
  );
  await watch.report('check');
  const { status, stderr } = await upgrade(dist, '--canary', 'n2');
  assert.is(status, 1, stderr);
  assert.match(stderr, /rolled back: node n2: its agent( \(pid \d+\) has ended| does not become Ready)/);
  await runsEverywhere(MAIN);
  await Promise.all(NODES.map((node) => successor(node)));
  const { lost } = await watch.report('check');
  assert.is(lost, 0);
});

test('if the command is killed on its way, the node returns to its former build', async () => {
  const dist = buildNamed('killed');
  const args = [MAIN, 'upgrade', '--to', dist, '--without-shadow', '--watch', '1m'];
  const child: ChildProcess = spawn(process.execPath, args, { stdio: 'ignore' });
  try {
    await eventually(async () => (programOf(agentPid('n1')) === mainOf(dist) ? true : undefined), 60_000);
    await successor('n1');
  } finally {
    child.kill('SIGKILL');
  }
  await eventually(async () => (programOf(agentPid('n1')) === MAIN ? true : undefined), 60_000);
  await successor('n1');
  await runsEverywhere(MAIN);
  const { lost } = await watch.report('check');
  assert.is(lost, 0);
});

test('a good build takes over every node and the controller: no connection is lost', async () => {
  const dist = buildNamed('good');
  await watch.report('check');
  const { gapMs: undisturbed } = await watch.report();
  const report = JSON.parse(await output(upgrade(dist, '-o', 'json'))) as UpgradeReport;
  const { lost, gapMs, sent, echoed } = await watch.report('check');
  console.log(
    `upgrade: longest gap ${gapMs} ms (undisturbed ${undisturbed} ms), ${echoed} of ${sent} datagrams echoed`,
  );
  assert.is(lost, 0);
  assert.is(report.shadow?.different, 0);
  assert.ok((report.shadow?.compared ?? 0) > 100);
  assert.equal(
    report.nodes.map(({ name }) => name),
    NODES,
  );
  await runsEverywhere(mainOf(dist));
  // The supervisor keeps to the build: a controller that is killed afterwards is of the same.
  const { pid } = (await cluster.status()).controller;
  process.kill(pid, 'SIGKILL');
  await eventually(async () => {
    const { controller } = await cluster.status();
    return controller.running && controller.pid !== pid ? true : undefined;
  }, 30_000);
  await runsEverywhere(mainOf(dist));
});

test.run();
