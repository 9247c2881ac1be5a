/**
 * `npm run floods -- [--seconds N] [--report FILE]`: floods a node in every way of lib/floods/floods.ts, N seconds each, while two
 * pods on different nodes exchange datagrams, hold 200 connections and open 50 a second. Fails if their round trips take more
 * than three times as long (p99), a connection is lost, or more than one in a hundred new ones fails.
 *
 * The two pods' programs run with priority, if that is allowed (chrt): what is measured is the network, not how long a program
 * waits for a processor that the flooding programs use too.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type Cluster, podNetns, processPod, ROOT, startCluster } from '../lib/cluster.ts';
import { FLOODS, type Flood, type Ground, NODE_PORT } from '../lib/floods/floods.ts';
import type { Probed } from '../lib/floods/probe.ts';
import { type FloodReport, type FloodRow, harmOf } from '../lib/floods/report.ts';

const HELD = 200;
const SETTLE_MS = 1000;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    only: { type: 'string' },
    report: { type: 'string' },
  },
});
const seconds = Number(values.seconds);
if (!Number.isInteger(seconds) || seconds < 1) {
  console.error(`--seconds ${values.seconds}: expected a whole number from 1`);
  process.exit(2);
}
const floods = FLOODS.filter(({ name }) => name.includes(values.only ?? ''));

const server = [process.execPath, join(ROOT, 'dist/test/lib/continuity-server.js')];
const idle = ['sleep', '100000'];
const cluster = await startCluster({
  args: ['--nodes', '2'],
  manifests: [
    processPod('client', 'n1', idle),
    processPod('server', 'n2', idle),
    processPod('target', 'n1', server),
    processPod('bad', 'n1', idle),
    processPod('worse', 'n2', idle),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'target', namespace: 'default' },
      spec: {
        selector: { app: 'target' },
        type: 'NodePort',
        externalTrafficPolicy: 'Local',
        ports: [
          { name: 'tcp', port: 7100, nodePort: NODE_PORT },
          { name: 'udp', port: 7101, nodePort: NODE_PORT, protocol: 'UDP' },
        ],
      },
    },
  ],
});
const rows: FloodRow[] = [];
try {
  const ground: Ground = { cluster, targetIp: await ipOf('target'), otherIp: await ipOf('worse') };
  cluster.start(podNetns('server'), priority(server));
  const probe = await startProbe(cluster, await ipOf('server'));
  for (const flood of floods) {
    rows.push(await measure(flood, ground, probe));
    show(rows.at(-1)!);
  }
} finally {
  await cluster.down();
}
const harm = rows.flatMap(harmOf);
if (values.report !== undefined) {
  const report: FloodReport = { date: new Date().toISOString(), seconds, rows };
  writeFileSync(values.report, `${JSON.stringify(report, null, 2)}\n`);
}
console.log(harm.length === 0 ? 'no flood did harm' : harm.join('\n'));
process.exitCode = harm.length === 0 ? 0 : 1;

/** The command with real-time priority, where that is allowed. */
function priority(command: readonly string[]): readonly string[] {
  const words = ['chrt', '--rr', '1'];
  return spawnSync(words[0]!, [...words.slice(1), 'true']).status === 0 ? [...words, ...command] : command;
}

async function ipOf(pod: string): Promise<string> {
  return (await cluster.get<{ status: { podIP: string } }>('pod', pod)).status.podIP;
}

/** @returns asks the probe what has happened since it was asked last */
async function startProbe(its: Cluster, host: string): Promise<() => Promise<Probed>> {
  const program = join(ROOT, 'dist/test/lib/floods/probe.js');
  const child = its.start(podNetns('client'), priority([process.execPath, program, host, `${HELD}`]));
  child.stderr!.pipe(process.stderr, { end: false });
  const lines = createInterface(child.stdout!)[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next();
    if (done) throw new Error('the probe has ended');
    return value;
  };
  await next();
  return async () => {
    child.stdin!.write('\n');
    return JSON.parse(await next()) as Probed;
  };
}

async function measure(flood: Flood, ground: Ground, probe: () => Promise<Probed>): Promise<FloodRow> {
  await sleep(SETTLE_MS);
  const { lost: lostBefore } = await probe();
  await sleep(seconds * 1000);
  const quiet = await probe();
  const running = await flood.start(ground);
  await sleep(SETTLE_MS);
  await probe();
  await sleep(seconds * 1000);
  const flooded = await probe();
  const sent = await running.end();
  return {
    flood: flood.name,
    sent,
    quietP99Ms: quiet.p99Ms,
    p99Ms: flooded.p99Ms,
    held: HELD - lostBefore,
    lost: flooded.lost - lostBefore,
    opened: flooded.opened,
    failed: flooded.failed,
  };
}

function show({ flood, sent, quietP99Ms, p99Ms, held, lost, opened, failed }: FloodRow): void {
  console.log(
    `${flood}: ${sent} sent; p99 ${p99Ms} ms (${quietP99Ms} before), ${lost} of ${held} connections lost, ${failed} of ${opened} new ones failed`,
  );
}
