/**
 * What a failure of a node's agent or worker costs its traffic: the nodes' agents are killed (SIGKILL), ended (SIGTERM) or
 * stopped (SIGSTOP), or their workers throw or hang, in turn, many times, with many connections and a datagram every
 * millisecond from one node to the other. For each time: how long no echo came back, and how many connections were lost.
 *
 * An undisturbed interval is measured before: on a busy machine the programs themselves are late.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Failure } from '../../src/worker/control.ts';
import { eventually } from '../../test/lib/cluster.ts';
import { ContinuityWatch } from '../../test/lib/continuity.ts';
import { agentPid, successor, WorkerControl } from '../../test/lib/node-processes.ts';
import type { NodeFaults } from '../../test/lib/reliability-page.ts';
import { quantile } from '../lib/statistics.ts';
import { bringUp, cli, dataplaneUnavailable, idlePod, podNetns, takeDown } from './contenders/dataplane.ts';
import { claimMachine, inside } from './lib/netns.ts';
import { background, end, runScript, sleep } from './lib/processes.ts';

const HELP = `usage: node dist/bench/net/agent-kills.js [--kills 100] [--connections 20000] [--fault FAULT] [--load] [--report FILE]
--fault: SIGKILL (default), SIGTERM or SIGSTOP of an agent; throw or hang of its worker.
--load: HTTP requests as fast as they go, with wrk, between the same nodes meanwhile.
--report: put the result into this JSON file, in place of an earlier one of the same fault.
`;
const NODES = ['n1', 'n2'];

interface Fault {
  readonly name: string;
  /** Makes it happen to a node; resolves when the successor forwards. */
  inject(node: string): Promise<void>;
}

const ofAgent = (signal: NodeJS.Signals): Fault => ({
  name: `${signal} of an agent`,
  inject: async (node) => {
    const pid = agentPid(node);
    process.kill(pid, signal);
    await successor(node, pid);
  },
});

const ofWorker = (what: string, how: number): Fault => ({
  name: `a worker ${what}`,
  inject: async (node) => {
    const control = new WorkerControl(node);
    const before = control.restarts(0);
    control.fail(0, how);
    await eventually(async () => (control.restarts(0) > before && control.isLooping(0) ? true : undefined));
    control.close();
  },
});

const FAULTS: Readonly<Record<string, Fault>> = {
  SIGKILL: ofAgent('SIGKILL'),
  SIGTERM: ofAgent('SIGTERM'),
  SIGSTOP: ofAgent('SIGSTOP'),
  throw: ofWorker('throws', Failure.THROW),
  hang: ofWorker('hangs', Failure.HANG),
};

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '100' },
    connections: { type: 'string', default: '20000' },
    fault: { type: 'string', default: 'SIGKILL' },
    load: { type: 'boolean', default: false },
    report: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(HELP);
  const fault = FAULTS[values.fault];
  if (fault === undefined)
    throw new Error(`--fault ${values.fault}: expected one of ${Object.keys(FAULTS).join(', ')}`);
  const unavailable = dataplaneUnavailable();
  if (unavailable !== undefined) throw new Error(unavailable);
  claimMachine();
  const [kills, connections] = [Number(values.kills), Number(values.connections)];
  // One worker, so that every packet meets its failure.
  const options = ['--workers', '1'];
  await bringUp('agent-kills', [idlePod('client', 'n1'), idlePod('server', 'n2')], 2, options);
  const { status } = JSON.parse(cli('get', 'pod', 'server', '-o', 'json')) as { status: { podIP: string } };
  const watch = new ContinuityWatch(podNetns('client'), podNetns('server'), status.podIP, connections);
  try {
    await watch.ready();
    const load = values.load
      ? await background(inside(podNetns('client'), 'wrk', '-t1', '-c16', '-d86400', `http://${status.podIP}:7180/`))
      : undefined;
    await watch.report('check');
    await sleep(3000);
    const quiet = await watch.report();
    console.log(`undisturbed: longest gap ${quiet.gapMs} ms, ${quiet.echoed} of ${quiet.sent} datagrams echoed`);
    const gaps: number[] = [];
    let lost = 0;
    for (let kill = 0; kill < kills; kill++) {
      const node = NODES[kill % NODES.length]!;
      await watch.report();
      const injected = fault.inject(node);
      await sleep(150);
      const first = await watch.report();
      await injected;
      await sleep(300);
      const second = await watch.report('check');
      lost = second.lost;
      gaps.push(Math.max(first.gapMs, second.gapMs));
      const missing = first.sent + second.sent - first.echoed - second.echoed;
      console.log(
        `${node}: gap ${first.gapMs} ms at first, ${second.gapMs} ms until its successor forwards; ${missing} datagrams, ${lost} connections lost`,
      );
    }
    await end(load);
    const ms = (q: number): number => Math.round(quantile(gaps, q) * 10) / 10;
    const row: NodeFaults = {
      date: new Date().toISOString(),
      fault: `${fault.name}${values.load ? ', with wrk' : ''}`,
      times: kills,
      connections,
      lost,
      gapMs: ms(0.5),
      p99Ms: ms(0.99),
      longestMs: ms(1),
      undisturbedMs: quiet.gapMs,
    };
    console.log(
      `${row.fault} x${kills}: gap p50 ${row.gapMs} ms, p99 ${row.p99Ms} ms, longest ${row.longestMs} ms; ${lost} of ${connections} connections lost`,
    );
    if (values.report !== undefined) keep(values.report, row);
  } finally {
    watch.end();
    await takeDown();
  }
}

function keep(file: string, row: NodeFaults): void {
  const rows = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as NodeFaults[]) : [];
  const others = rows.filter(({ fault }) => fault !== row.fault);
  writeFileSync(file, `${JSON.stringify([...others, row], null, 2)}\n`);
}

await runScript(main);
