/**
 * What it costs to watch a cluster at full rate, in alternation with not watching it: a capture of every frame beside a
 * TCP stream, and `observe` beside thousands of new connections a second. Medians of rates and of processor time: of the
 * agents, and of the program that watches.
 */
import { readFileSync } from 'node:fs';
import { repositoryRoot } from '../lib/result-directory.ts';
import { median, short } from '../lib/statistics.ts';
import { Port } from './contenders/contender.ts';
import { bringUp, cli, dataplaneUnavailable, idlePod, podNetns, takeDown } from './contenders/dataplane.ts';
import { readCpu } from './lib/cpu.ts';
import { claimMachine, inside } from './lib/netns.ts';
import { benchOptions } from './lib/options.ts';
import { background, end, runScript, sleep } from './lib/processes.ts';
import { compiled, missing } from './lib/tools.ts';
import { throughput } from './metrics/bulk.ts';

const HELP = `usage: node dist/bench/net/watching.js [--only capture,observe] [--rounds 7] [--seconds 5]
capture  \`dataplane capture --snaplen 128\` beside one TCP stream, on one node and across nodes
observe  \`dataplane observe -f\` beside 5,000 new UDP connections a second from one pod, which are 10,000 flows a second once they expire
DATAPLANE=/path/to/main.js in the environment: another build. The exit status is 1 if a capture costs more than 15 % of the
rate, or if observe loses a flow or costs the node more than 5 % of a core.
`;
const CONNECTIONS_PER_SECOND = 5000;
/** Unanswered UDP connections expire after 30 s: from then on as many end as begin. */
const EXPIRY_MS = 35_000;
const MOST_OF_RATE = 0.85;
const MOST_OF_CORE = 0.05;
/** After a program that watches has begun: its code is compiled. */
const SETTLE_MS = 1500;
const DISCARD = 9;

interface Sample {
  /** Gbit/s. */
  readonly rate: number;
  /** Seconds of processor per GB: of the agents, and of the reader. */
  readonly agents: number;
  readonly reader: number;
  /** The reader's last line. */
  readonly said: string;
}

const program = (): string => process.env.DATAPLANE ?? `${repositoryRoot()}/dist/bundle/cli/main.js`;
const addressOf = (pod: string): string =>
  (JSON.parse(cli('get', 'pod', pod, '-o', 'json')) as { status: { podIP: string } }).status.podIP;

/** A command that watches, its processor time until the end, and what it wrote on standard error. */
async function watcher(words: readonly string[], ready?: RegExp) {
  const child = await background([process.execPath, program(), ...words], ready);
  let said = '';
  child.stderr!.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-2000);
  });
  child.stdout!.resume();
  await sleep(SETTLE_MS);
  return {
    pid: child.pid!,
    stop: async (): Promise<string> => {
      await end(child, 'SIGINT');
      return said.trim().split('\n').at(-1) ?? '';
    },
  };
}

async function bulkRun(
  agents: readonly number[],
  address: string,
  seconds: number,
  capturing: boolean,
): Promise<Sample> {
  const reader = capturing
    ? await watcher(['capture', '--snaplen', '128', '-w', '/dev/null'], /^capturing on/m)
    : undefined;
  const pids = reader === undefined ? [] : [reader.pid];
  const [agentsBefore, readerBefore] = [readCpu(agents), readCpu(pids)];
  const path = { clientNetns: podNetns('client'), serverNetns: '', address, httpPort: 0 };
  const rate = await throughput(path, seconds);
  const [agentsAfter, readerAfter] = [readCpu(agents), readCpu(pids)];
  // iperf3's first second is not in its rate, but in the processor time.
  const gigabytes = (rate / 8) * (Math.max(1, Math.round(seconds)) + 1);
  const perGigabyte = (ticks: number): number => ticks / 100 / gigabytes;
  return {
    rate,
    agents: perGigabyte(agentsAfter.processTicks - agentsBefore.processTicks),
    reader: perGigabyte(readerAfter.processTicks - readerBefore.processTicks),
    said: (await reader?.stop()) ?? '',
  };
}

async function captureCost(agents: readonly number[], rounds: number, seconds: number): Promise<void> {
  for (const pod of ['near', 'far']) {
    const server = await background(
      inside(podNetns(pod), 'iperf3', '-s', '--forceflush', '-p', String(Port.IPERF)),
      /listening/,
    );
    const address = addressOf(pod);
    await bulkRun(agents, address, 2, false);
    const [without, withCapture]: [Sample[], Sample[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      // The order turns, so that a machine that gets slower or faster favours neither.
      for (const capturing of round % 2 === 0 ? [false, true] : [true, false]) {
        (capturing ? withCapture : without).push(await bulkRun(agents, address, seconds, capturing));
      }
    }
    await end(server);
    const of = (samples: readonly Sample[], key: 'rate' | 'agents' | 'reader') => samples.map((one) => one[key]);
    const row = (name: string, samples: readonly Sample[]): string =>
      `  ${name}: ${short(median(of(samples, 'rate')))} Gbit/s (${of(samples, 'rate').map(short).join(', ')}); ` +
      `agents ${short(median(of(samples, 'agents')))} s of processor per GB (${of(samples, 'agents').map(short).join(', ')}), ` +
      `reader ${short(median(of(samples, 'reader')))}\n`;
    const ratio = median(of(withCapture, 'rate')) / median(of(without, 'rate'));
    const cost = median(of(withCapture, 'agents')) / median(of(without, 'agents')) - 1;
    process.stdout.write(
      `one TCP stream, ${pod === 'near' ? 'on one node' : 'across nodes'}, medians of ${rounds} rounds:\n` +
        row('without', without) +
        row('with a capture of 128 bytes of every frame', withCapture) +
        `  rate ${ratio.toFixed(2)} times; agents' processor per GB ${cost >= 0 ? '+' : ''}${Math.round(cost * 100)} %\n` +
        `  ${withCapture.map(({ said }) => said).join(' · ')}\n`,
    );
    if (ratio < MOST_OF_RATE) process.exitCode = 1;
  }
}

async function observeCost(agents: readonly number[], rounds: number, seconds: number): Promise<void> {
  const total = (rounds * 3 * (seconds + 3) * 1000 + EXPIRY_MS) / 1000 + 30;
  const words = ['udp-flows', addressOf('far'), String(DISCARD), String(total), String(CONNECTIONS_PER_SECOND)];
  const sender = await background(inside(podNetns('client'), compiled('traffic'), ...words));
  await sleep(EXPIRY_MS);
  const ways = {
    'nobody observes': undefined,
    'observe -f, filtered to one pod that is idle': ['observe', '-f', '--node-name', 'n1', '--pod', 'near'],
    'observe -f -o jsonpb, every flow of one node': ['observe', '-f', '--node-name', 'n1', '-o', 'jsonpb'],
  };
  const samples = Object.fromEntries(Object.keys(ways).map((name) => [name, [] as Omit<Sample, 'rate'>[]]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, observing] of Object.entries(ways)) {
      const reader = observing && (await watcher(observing));
      const pids = reader === undefined ? [] : [reader.pid];
      const [agentsBefore, readerBefore] = [readCpu(agents), readCpu(pids)];
      await sleep(seconds * 1000);
      const [agentsAfter, readerAfter] = [readCpu(agents), readCpu(pids)];
      const cores = (before: ReturnType<typeof readCpu>, after: ReturnType<typeof readCpu>): number =>
        (after.processTicks - before.processTicks) / ((after.atMs - before.atMs) / 10);
      samples[name]!.push({
        agents: cores(agentsBefore, agentsAfter),
        reader: cores(readerBefore, readerAfter),
        said: (await reader?.stop()) ?? '',
      });
    }
  }
  await end(sender);
  const middle = (name: string, key: 'agents' | 'reader'): number => median(samples[name]!.map((one) => one[key]));
  process.stdout.write(
    `${CONNECTIONS_PER_SECOND} new connections a second and as many that expire, medians of ${rounds} rounds:\n`,
  );
  for (const [name, each] of Object.entries(samples)) {
    const lost = each.filter(({ said }) => /lost/.test(said));
    process.stdout.write(
      `  ${name}: agents ${(middle(name, 'agents') * 100).toFixed(1)} % of a core (${each.map((one) => (one.agents * 100).toFixed(1)).join(', ')}), ` +
        `reader ${(middle(name, 'reader') * 100).toFixed(1)} %${name === 'nobody observes' ? '' : `; rounds with a lost flow: ${lost.length}`}\n`,
    );
    for (const { said } of lost) process.stdout.write(`    ${said}\n`);
    if (lost.length > 0 || middle(name, 'agents') - middle('nobody observes', 'agents') > MOST_OF_CORE)
      process.exitCode = 1;
  }
}

await runScript(async () => {
  const { rounds, seconds, only } = benchOptions(HELP, { rounds: 7, seconds: 5 });
  const lack = dataplaneUnavailable() ?? missing(['ip', 'iperf3', 'gcc']);
  if (lack) throw new Error(lack);
  claimMachine();
  const wanted = (name: string): boolean => only.length === 0 || only.some((text) => name.startsWith(text));
  const { nodes } = await bringUp('watching', [idlePod('client', 'n1'), idlePod('near', 'n1'), idlePod('far', 'n2')]);
  const agents = nodes.map(({ agentPid }) => agentPid);
  process.stdout.write(`load average ${readFileSync('/proc/loadavg', 'utf8').split(' ', 3).join(' ')}\n`);
  if (wanted('capture')) await captureCost(agents, rounds, seconds);
  if (wanted('observe')) await observeCost(agents, rounds, seconds);
  await takeDown();
});
