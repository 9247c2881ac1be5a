/**
 * What an agent's end costs its node's traffic: agents are killed (SIGKILL) or ended (SIGTERM) in turn, many times, under
 * load, with many connections and a datagram every millisecond from one node to the other. For each time: how long no echo
 * came back, and how many connections were lost.
 *
 * An undisturbed interval is measured before: on a busy machine the programs themselves are late.
 */
import { parseArgs } from 'node:util';
import { ContinuityWatch } from '../../test/lib/continuity.ts';
import { agentPid, successor } from '../../test/lib/node-processes.ts';
import { quantile } from '../lib/statistics.ts';
import { bringUp, cli, dataplaneUnavailable, idlePod, podNetns, takeDown } from './contenders/dataplane.ts';
import { claimMachine, inside } from './lib/netns.ts';
import { background, end, runScript, sleep } from './lib/processes.ts';

const HELP = `usage: node dist/bench/net/agent-kills.js [--kills 100] [--connections 20000] [--signal SIGKILL|SIGTERM] [--load]
--load: HTTP requests as fast as they go, with wrk, between the same nodes meanwhile.
`;
const NODES = ['n1', 'n2'];

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '100' },
    connections: { type: 'string', default: '20000' },
    signal: { type: 'string', default: 'SIGKILL' },
    load: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(HELP);
  const unavailable = dataplaneUnavailable();
  if (unavailable !== undefined) throw new Error(unavailable);
  claimMachine();
  const [kills, connections] = [Number(values.kills), Number(values.connections)];
  await bringUp('agent-kills', [idlePod('client', 'n1'), idlePod('server', 'n2')], 2);
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
      const pid = agentPid(node);
      await watch.report();
      process.kill(pid, values.signal as NodeJS.Signals);
      await sleep(150);
      const first = await watch.report();
      await successor(node, pid);
      await sleep(300);
      const second = await watch.report('check');
      lost = second.lost;
      gaps.push(Math.max(first.gapMs, second.gapMs));
      const missing = first.sent + second.sent - first.echoed - second.echoed;
      console.log(
        `${node}: gap ${first.gapMs} ms at its end, ${second.gapMs} ms at the next one's start; ${missing} datagrams, ${lost} connections lost`,
      );
    }
    await end(load);
    const ms = (q: number): string => quantile(gaps, q).toFixed(1);
    console.log(
      `${values.signal} x${kills}: gap p50 ${ms(0.5)} ms, p99 ${ms(0.99)} ms, longest ${ms(1)} ms; ${lost} of ${connections} connections lost`,
    );
  } finally {
    watch.end();
    await takeDown();
  }
}

await runScript(main);
