/**
 * Cost of many services: the first packet of a connection to the first and the last of N services, and the time until
 * one changed endpoint takes effect, for 10 to 50,000 services with ten endpoints each.
 */

import { quantile, short } from '../lib/statistics.ts';
import { claimMachine, inside } from './lib/netns.ts';
import { benchOptions } from './lib/options.ts';
import { background, end, finish, runScript } from './lib/processes.ts';
import { addSample, table, writeResults } from './lib/report.ts';
import type { Results } from './lib/results.ts';
import { compiled, describeMachine, missing } from './lib/tools.ts';
import { scaledDataplane } from './scaling/dataplane.ts';
import { scaledKernel } from './scaling/kernel.ts';
import { ENDPOINTS, LIVE_PORT, type ScalingPlan, SERVICE_PORT, scalingPlan } from './scaling/plan.ts';
import type { Scaled } from './scaling/scaled.ts';

const HELP = `usage: node dist/bench/net/service-scaling.js [--rounds 3] [--seconds 240] [--only 10,1000,…] [--contenders NAME,…] [--output BASE]
  --only        numbers of services: 10,1000,10000,50000
  --contenders  iptables, iptables-legacy, nftables, dataplane
  --seconds     time limit for applying one set of services; a set that takes longer is tried again with one endpoint per
                service, and left out if that takes too long as well
`;
const CONNECTS = 1000;
const PAUSE_US = 200;

await runScript(async () => {
  const options = benchOptions(HELP, { rounds: 3, seconds: 240 });
  const lack = missing(['ip', 'gcc']);
  if (lack) throw new Error(lack);
  const counts = options.only.length > 0 ? options.only.map(Number) : [10, 1000, 10_000, 50_000];
  if (counts.some((count) => !(count >= 3))) throw new Error('--only: expected numbers of services, 3 or more');
  const wanted = options.contenders;
  const contenders = [...scaledKernel(), scaledDataplane()].filter(
    ({ name }) => wanted.length === 0 || wanted.includes(name),
  );
  claimMachine();
  const results: Results = {
    title: `Many services with ${ENDPOINTS} endpoints each`,
    machine: await describeMachine(),
    settings: { rounds: options.rounds, limitSeconds: options.seconds, connects: CONNECTS },
    contenders: contenders.map((one) => ({
      name: one.name,
      title: one.title,
      about: one.about,
      notes: [],
      skipped: one.unavailable(),
    })),
    rows: counts.flatMap(rowsFor),
    samples: {},
    problems: [],
  };
  for (const count of counts) {
    for (const contender of contenders) {
      if (results.contenders.find(({ name }) => name === contender.name)!.skipped) continue;
      await measure(contender, count, options.rounds, options.seconds * 1000, results);
    }
  }
  process.stdout.write(table(results, 'iptables'));
  for (const path of writeResults(results, 'service-scaling', options.output)) process.stdout.write(`wrote ${path}\n`);
});

function rowsFor(count: number): Results['rows'] {
  const row = (figure: string, title: string, unit: string) => ({
    key: `${count}/${figure}`,
    title: `${count} services: ${title}`,
    unit,
    better: 'less' as const,
  });
  return [
    row('first-p50', 'SYN to SYN/ACK p50, first', 'µs'),
    row('first-p99', 'SYN to SYN/ACK p99, first', 'µs'),
    row('last-p50', 'SYN to SYN/ACK p50, last', 'µs'),
    row('last-p99', 'SYN to SYN/ACK p99, last', 'µs'),
    row('change', 'one endpoint changed', 'ms'),
    row('load', 'all in force', 's'),
  ];
}

async function measure(
  contender: Scaled,
  count: number,
  rounds: number,
  limitMs: number,
  results: Results,
): Promise<void> {
  try {
    const { client, server, serverIp } = await contender.up();
    await background(inside(server, compiled('traffic'), 'accept', String(LIVE_PORT), String(ENDPOINTS)), /ready/);
    const { plan, milliseconds } = await loadOrReduce(contender, count, serverIp, limitMs, results);
    addSample(results, `${count}/load`, contender.name, milliseconds / 1000);
    process.stderr.write(`${contender.title}, ${count} services: in force after ${short(milliseconds / 1000)} s\n`);
    // Warm up every path before measuring, so that caches are filled and code is compiled.
    await firstPackets(client, plan.first.clusterIp);
    for (let round = 0; round < rounds; round++) {
      for (const place of ['first', 'last'] as const) {
        const samples = await firstPackets(client, plan[place].clusterIp);
        addSample(results, `${count}/${place}-p50`, contender.name, quantile(samples, 0.5));
        addSample(results, `${count}/${place}-p99`, contender.name, quantile(samples, 0.99));
      }
      addSample(results, `${count}/change`, contender.name, await changeOne(contender, plan, client, serverIp, round));
    }
  } catch (error) {
    results.problems.push(`${contender.title}, ${count} services: ${(error as Error).message}`);
  } finally {
    await contender.down();
  }
}

/** Applies the full set. If it does not fit, unused services get one endpoint each, and the results say so. */
async function loadOrReduce(
  contender: Scaled,
  count: number,
  serverIp: string,
  limitMs: number,
  results: Results,
): Promise<{ plan: ScalingPlan; milliseconds: number }> {
  const plan = scalingPlan(count, serverIp);
  try {
    return { plan, milliseconds: await contender.load(plan, limitMs) };
  } catch (error) {
    const reason = (error as Error).message;
    results.problems.push(
      `${contender.title}, ${count} services × ${ENDPOINTS}: ${reason}; measured with 1 endpoint each`,
    );
    await contender.down();
    await contender
      .up()
      .then(({ server }) =>
        background(inside(server, compiled('traffic'), 'accept', String(LIVE_PORT), String(ENDPOINTS)), /ready/),
      );
    const reduced = scalingPlan(count, serverIp, 1);
    return { plan: reduced, milliseconds: await contender.load(reduced, limitMs) };
  }
}

/** Microseconds per connection for CONNECTS connections, one after the other. */
async function firstPackets(client: string, address: string): Promise<number[]> {
  const words = ['first-packet', address, SERVICE_PORT, CONNECTS, PAUSE_US].map(String);
  const { stdout, stderr } = await finish(inside(client, compiled('traffic'), ...words), 60_000);
  const samples = stdout.split('\n').filter(Boolean).map(Number).filter(Number.isFinite);
  if (samples.length < CONNECTS / 2)
    throw new Error(`${samples.length} of ${CONNECTS} connections to ${address}: ${stderr}`);
  return samples;
}

/** Milliseconds from the request to change one endpoint until a new connection reaches it. */
async function changeOne(
  contender: Scaled,
  plan: ScalingPlan,
  client: string,
  serverIp: string,
  round: number,
): Promise<number> {
  const port = LIVE_PORT + ((round + 1) % 2);
  plan.change.endpoints = [{ ip: serverIp, port }];
  const words = ['until', plan.change.clusterIp, SERVICE_PORT, port, 120_000].map(String);
  const watcher = await background(inside(client, compiled('traffic'), ...words), /ready/);
  let seen = '';
  watcher.stdout!.on('data', (chunk: Buffer) => {
    seen += chunk.toString();
  });
  const closed = new Promise<void>((resolve) => watcher.once('close', () => resolve()));
  const begin = Date.now();
  try {
    await contender.apply(plan);
    await closed;
  } finally {
    await end(watcher);
  }
  const match = /seen ([\d.]+)/.exec(seen);
  if (!match) throw new Error('the changed endpoint was never met');
  return Number(match[1]) - begin;
}
