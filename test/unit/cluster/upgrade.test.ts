/** What an upgrade compares before it changes anything, and when a node returns to its former build. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TABLE_LAYOUTS } from '../../../native-free-dataplane/dataplane.ts';
import { type Build, buildOf, compare, readBuild } from '../../../src/cluster/upgrade/build.ts';
import { isWorse, type NodeHealth, whyRollBack } from '../../../src/cluster/upgrade/health.ts';
import { runShadow } from '../../../src/cluster/upgrade/shadow.ts';
import { ROOT } from '../../lib/cluster.ts';

const well: NodeHealth = {
  name: 'n1',
  agentPid: 100,
  hasStarted: true,
  notReady: undefined,
  framesIn: 1000,
  failures: 10,
  restarts: 1,
};
const quiet = { frames: 100_000, failures: 0 };

test('a node that is as it was keeps its new build', () => {
  assert.is(whyRollBack(well, { ...well, framesIn: 5000, failures: 11 }, quiet), undefined);
});

test('a node returns to its former build if the agent has ended, a worker failed, or it is not Ready', () => {
  assert.is(whyRollBack(well, { ...well, agentPid: null }, quiet), 'its agent (pid 100) has ended');
  assert.is(whyRollBack(well, { ...well, agentPid: 101 }, quiet), 'its agent (pid 100) has ended');
  assert.is(whyRollBack(well, { ...well, restarts: 3 }, quiet), '2 of its workers failed');
  const notReady = 'worker 0 does not forward';
  assert.is(whyRollBack(well, { ...well, notReady }, quiet), 'it is not Ready: worker 0 does not forward');
});

test('a node returns to its former build if more of its packets fail than before', () => {
  const now = { ...well, framesIn: 11_000, failures: 510 };
  assert.is(whyRollBack(well, now, quiet), '5.0 % of its packets do not arrive; before, 0.0 % did not');
  assert.is(whyRollBack(well, now, { frames: 1000, failures: 40 }), undefined);
});

test('failures count against what failed before: they may double, or grow by one in a hundred', () => {
  const now = (failures: number) => ({ frames: 10_000, failures });
  assert.not(isWorse({ frames: 1000, failures: 100 }, now(2000)));
  assert.ok(isWorse({ frames: 1000, failures: 100 }, now(2001)));
  assert.not(isWorse({ frames: 1000, failures: 0 }, now(100)));
  assert.ok(isWorse({ frames: 1000, failures: 0 }, now(101)));
});

test('few failures are no reason, also if there were no packets before or since', () => {
  assert.not(isWorse({ frames: 0, failures: 0 }, { frames: 49, failures: 49 }));
  assert.not(isWorse(quiet, { frames: 0, failures: 0 }));
  assert.ok(isWorse({ frames: 0, failures: 0 }, { frames: 50, failures: 50 }));
});

const build: Build = { dist: '/a', main: '/a/bundle/cli/main.js', version: '1', tables: TABLE_LAYOUTS, standby: 1 };

test('builds with the same layouts cost nothing', () => {
  assert.equal(compare(build, { ...build, dist: '/b' }), {
    losesConnections: false,
    unreadable: [],
    losesFrames: false,
  });
});

test('another layout of the connection table costs all connections; of another table, the shadow', () => {
  const conntrack = { ...build, tables: { ...TABLE_LAYOUTS, conntrack: 99 } };
  assert.equal(compare(build, conntrack), { losesConnections: true, unreadable: ['conntrack'], losesFrames: false });
  const routes = { ...build, tables: { ...TABLE_LAYOUTS, routes: 99 } };
  assert.equal(compare(build, routes), { losesConnections: false, unreadable: ['routes'], losesFrames: false });
  assert.ok(compare(build, { ...build, standby: 2 }).losesFrames);
});

test('a build is read from its dist, or from the folder above; it has the layouts of its tables', () => {
  const dist = join(ROOT, 'dist');
  for (const path of [dist, ROOT]) {
    const found = readBuild(path);
    assert.is(found.dist, dist);
    assert.equal(found.tables, TABLE_LAYOUTS);
  }
  assert.is(buildOf(join(dist, 'bundle/cli/main.js')).dist, dist);
});

test('what is no build is refused, and the message names the file', () => {
  assert.throws(() => readBuild('/nonexistent'), /^\/nonexistent has no bundle\/cli\/main\.js$/);
  assert.throws(() => buildOf('/x/src/cli/main.js'), /is not part of a bundle/);
  const directory = mkdtempSync(join(tmpdir(), 'dataplane-build-'));
  try {
    mkdirSync(join(directory, 'bundle/cli'), { recursive: true });
    writeFileSync(join(directory, 'bundle/cli/main.js'), '');
    assert.throws(() => readBuild(directory), /bundle\/build\.json cannot be read: ENOENT/);
    writeFileSync(join(directory, 'bundle/build.json'), '{"version":"1","tables":{}}');
    assert.throws(() => readBuild(directory), /bundle\/build\.json cannot be read: a field is missing/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

/** A build whose program does this for `snapshot` and `replay`. */
function pretend(directory: string, program: string): Build {
  const main = join(directory, 'main.cjs');
  writeFileSync(main, `const [command, ...args] = process.argv.slice(2);\n${program}`);
  return { ...build, dist: directory, main };
}

test('the shadow records with the running build, and replays both; what they report is the result', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dataplane-shadow-'));
  const { signal } = new AbortController();
  try {
    const reports = pretend(
      directory,
      `const fs = require('fs');
       if (command === 'snapshot') for (const path of [args[0], args[2]]) fs.writeFileSync(path, '');
       else {
         for (const path of args.slice(0, 2)) fs.accessSync(path);
         console.log(JSON.stringify({ compared: 9, different: 1, differences: [], diff: args[3], more: 'unused' }));
         process.exitCode = 1;
       }`,
    );
    assert.equal(await runShadow(reports, build, 1, signal), { compared: 9, different: 1, differences: [] });

    const fails = pretend(
      directory,
      `if (command === 'replay') { console.error('a\\nit is broken'); process.exit(1); }`,
    );
    const message = await runShadow(fails, build, 1, signal).catch((error: Error) => error.message);
    assert.is(message, '/a fails in shadow: it is broken');

    const killed = pretend(directory, `if (command === 'replay') process.kill(process.pid, 'SIGSEGV');`);
    const why = await runShadow(killed, build, 1, signal).catch((error: Error) => error.message);
    assert.is(why, '/a fails in shadow: ended by SIGSEGV');

    const records = pretend(directory, `console.error('there is no node'); process.exit(1);`);
    const nothing = await runShadow(records, build, 1, signal).catch((error: Error) => error.message);
    assert.is(nothing, 'no frames could be recorded: there is no node');
    assert.equal(
      readdirSync(tmpdir()).filter((name) => name.startsWith('dataplane-upgrade-')),
      [],
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('a shadow that is interrupted ends its programs', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dataplane-shadow-'));
  try {
    const hangs = pretend(directory, 'setInterval(() => {}, 1000);');
    const interrupted = new AbortController();
    const running = runShadow(hangs, build, 1, interrupted.signal).catch((error: Error) => error.message);
    setTimeout(() => interrupted.abort(new Error('interrupted')), 100);
    assert.is(await running, 'interrupted');
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test.run();
