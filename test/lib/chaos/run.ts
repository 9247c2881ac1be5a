/**
 * One chaos run: a cluster, clients that check everything they receive, load beside them, a list of faults, and the
 * judgement: what was lost, whether everything works afterwards, and whether anything is left behind.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Cluster, eventually, podNetns, processPod, ROOT, startCluster } from '../cluster.ts';
import type { ChaosEvent, ChaosTotals } from './client.ts';
import { inject } from './inject.ts';
import { describeFault, type Fault } from './plan.ts';

export const NODES: readonly string[] = ['n1', 'n2'];

const HOLD = 20;
const CLUSTER_IP = '10.96.9.9';
const NODE_1 = '172.18.0.11';
/** A silence belongs to the fault during which, or so long after which, it began. */
const AFTERMATH_MS = 800;
/** After the last fault everything must work within this time. */
const SETTLE_MS = 45_000;
const PROGRAMS = { server: 'dist/test/lib/chaos/server.js', client: 'dist/test/lib/chaos/client.js' } as const;

/** What happened during one fault. */
export interface FaultOutcome {
  readonly fault: Fault;
  /** Connections that were open when it began. */
  readonly carried: number;
  readonly lost: number;
  /** Requests that were begun during it, or before it and after any other, and failed; and why. */
  readonly requestsFailed: number;
  readonly reasons: readonly string[];
  /** Longest silence of any connection or UDP client, milliseconds; 0: none of 200 ms and more. */
  readonly longestGapMs: number;
}

export interface ChaosResult {
  readonly outcomes: readonly FaultOutcome[];
  readonly totals: Omit<ChaosTotals, 'event'>;
  /** Requests of wrk, and its errors; bytes that iperf3 carried. */
  readonly wrkRequests: number;
  readonly wrkErrors: number;
  readonly iperfBytes: number;
  /** Why the run failed; empty if it did not. */
  readonly failures: readonly string[];
}

interface Client {
  readonly child: ChildProcess;
  readonly events: ChaosEvent[];
  totals: ChaosTotals | undefined;
}

/** @param log gets a line for each fault as it begins */
export async function runChaos(faults: readonly Fault[], log: (line: string) => void): Promise<ChaosResult> {
  const directory = mkdtempSync(join(tmpdir(), 'dataplane-chaos-'));
  const clockFile = join(directory, 'clock');
  let cluster: Cluster | undefined;
  const failures: string[] = [];
  try {
    cluster = await startWithClock(clockFile);
    const result = await underLoad(cluster, faults, clockFile, failures, log);
    await cluster.down().catch((error: Error) => failures.push(error.message));
    cluster = undefined;
    return { ...result, failures };
  } finally {
    await cluster?.down().catch(() => {});
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Starts a cluster whose processes add the seconds in the file to their clocks (clock.cjs). */
async function startWithClock(clockFile: string): Promise<Cluster> {
  writeFileSync(clockFile, '0');
  const before = { CHAOS_CLOCK: undefined, NODE_OPTIONS: process.env.NODE_OPTIONS };
  process.env.CHAOS_CLOCK = clockFile;
  process.env.NODE_OPTIONS = `${before.NODE_OPTIONS ?? ''} --require ${join(ROOT, 'test/lib/chaos/clock.cjs')}`.trim();
  try {
    return await startCluster({ args: ['--nodes', '2', '--workers', '2'], manifests: manifests() });
  } finally {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}

function manifests(): object[] {
  const server = [process.execPath, join(ROOT, PROGRAMS.server)];
  const ports = [
    { name: 'http', port: 80, nodePort: 31080 },
    { name: 'echo', port: 7000, nodePort: 31700 },
    { name: 'udp-echo', port: 7001, nodePort: 31701, protocol: 'UDP' },
  ];
  return [
    processPod('near', 'n1', server),
    processPod('far', 'n2', server),
    processPod('bulk', 'n2', ['iperf3', '-s']),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'far', namespace: 'default' },
      spec: { selector: { app: 'far' }, clusterIP: CLUSTER_IP, type: 'NodePort', ports },
    },
  ];
}

async function underLoad(
  cluster: Cluster,
  faults: readonly Fault[],
  clockFile: string,
  failures: string[],
  log: (line: string) => void,
): Promise<Omit<ChaosResult, 'failures'>> {
  const ipOf = async (pod: string): Promise<string> =>
    (await cluster.get<{ status: { podIP: string } }>('pod', pod)).status.podIP;
  const [near, far, bulk] = await Promise.all(['near', 'far', 'bulk'].map(ipOf));
  const inside = startClient(cluster, podNetns('near'), [
    `tcp:${far}:7000:${HOLD}`,
    `tcp:${CLUSTER_IP}:7000:${HOLD}`,
    `udp:${far}:7001`,
    `udp:${CLUSTER_IP}:7001`,
    `http:${CLUSTER_IP}:80`,
  ]);
  const outside = startClient(cluster, 'dp-outside', [
    `tcp:${NODE_1}:31700:${HOLD}`,
    `udp:${NODE_1}:31701`,
    `http:${NODE_1}:31080`,
  ]);
  const lastMs = Math.max(0, ...faults.map(({ atMs, forMs }) => atMs + forMs)) + 1000;
  const seconds = String(Math.ceil(lastMs / 1000));
  const wrk = collect(cluster.start('dp-outside', ['wrk', '-t1', '-c4', `-d${seconds}s`, `http://${NODE_1}:31080/`]));
  // Limited, so that the load leaves the machine time for everything else.
  const iperf = collect(cluster.start(podNetns('near'), ['iperf3', '-c', `${bulk}`, '-t', seconds, '-b', '50M', '-J']));
  const ground = { cluster, clockFile, floodPod: { n1: 'near', n2: 'far' }, floodTarget: `${near}:9` };
  const begun = performance.timeOrigin + performance.now();
  await sleep(500);
  const spans: Span[] = [];
  for (const fault of faults) {
    const waitMs = begun + fault.atMs - (performance.timeOrigin + performance.now());
    if (waitMs > 0) await sleep(waitMs);
    log(describeFault(fault));
    const from = performance.timeOrigin + performance.now();
    await inject(fault, ground).catch((error: Error) => failures.push(`${describeFault(fault)}: ${error.message}`));
    spans.push({ fault, from, to: performance.timeOrigin + performance.now() });
  }
  await sleep(1000);
  failures.push(...(await whatDoesNotWork(cluster, `${far}`)));
  const clients = [inside, outside];
  await Promise.all(clients.map(endClient));
  const events = clients.flatMap(({ events: its }) => its);
  for (const event of events) {
    if (event.event === 'wrong' || event.event === 'lost')
      failures.push(`${event.event}: ${event.place}: ${event.why}`);
  }
  const [wrkText, iperfText] = await Promise.all([endLoad(wrk), endLoad(iperf)]);
  return {
    outcomes: outcomesOf(spans, events),
    totals: sumOf(clients),
    wrkRequests: Number(/(\d+) requests in/.exec(wrkText)?.[1] ?? 0),
    wrkErrors: [...(/Socket errors:(.*)/.exec(wrkText)?.[1] ?? '').matchAll(/\d+/g)].reduce(
      (n, [it]) => n + Number(it),
      0,
    ),
    iperfBytes: iperfBytesOf(iperfText),
  };
}

function startClient(cluster: Cluster, netns: string, places: readonly string[]): Client {
  const child = cluster.start(netns, [process.execPath, join(ROOT, PROGRAMS.client), ...places]);
  const client: Client = { child, events: [], totals: undefined };
  let rest = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      const event = JSON.parse(line) as ChaosEvent | ChaosTotals;
      if (event.event === 'totals') client.totals = event;
      else client.events.push(event);
    }
  });
  return client;
}

async function endClient({ child }: Client): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  child.stdin!.end();
  await closed;
}

interface Load {
  readonly child: ChildProcess;
  text: string;
}

function collect(child: ChildProcess): Load {
  const load: Load = { child, text: '' };
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    load.text += text;
  });
  return load;
}

/** What a load generator printed at its end, for which it has ten seconds more. */
async function endLoad(load: Load): Promise<string> {
  const { child } = load;
  if (child.exitCode === null && child.signalCode === null) {
    const closed = once(child, 'close');
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await closed;
    clearTimeout(timer);
  }
  return load.text;
}

function iperfBytesOf(text: string): number {
  try {
    const { end } = JSON.parse(text) as { end?: { sum_received?: { bytes?: number } } };
    return end?.sum_received?.bytes ?? 0;
  } catch {
    return 0;
  }
}

/** A fault, and when it happened. */
export interface Span {
  readonly fault: Fault;
  readonly from: number;
  readonly to: number;
}

export function outcomesOf(spans: readonly Span[], events: readonly ChaosEvent[]): FaultOutcome[] {
  const times = spans.map(({ from, to }, i) => ({
    from,
    until: Math.min(to + AFTERMATH_MS, spans[i + 1]?.from ?? Number.POSITIVE_INFINITY),
  }));
  /** The fault during which a request began, else the first one before its end: it waits up to five seconds for an answer. */
  const faultOf = (begun: number, ended: number): number => {
    const during = times.findIndex(({ from, until }) => begun >= from && begun < until);
    return during >= 0 ? during : times.findIndex(({ from }) => from > begun && from <= ended);
  };
  const failed = events.filter((event) => event.event === 'failed');
  return spans.map(({ fault }, i) => {
    const its = failed.filter(({ from, at }) => faultOf(from, at) === i);
    const reasons = [...new Set(its.map(({ place, why }) => `${place}: ${why}`))];
    const { from, until } = times[i]!;
    return { ...outcomeOf(fault, events, from, until), requestsFailed: its.length, reasons };
  });
}

function outcomeOf(
  fault: Fault,
  events: readonly ChaosEvent[],
  from: number,
  until: number,
): Omit<FaultOutcome, 'requestsFailed' | 'reasons'> {
  const during = (at: number): boolean => at >= from && at < until;
  const lostBefore = events.filter((event) => event.event === 'lost' && event.at < from).length;
  let longestGapMs = 0;
  for (const event of events) {
    if (event.event !== 'gap' || event.to < from || event.from >= until) continue;
    longestGapMs = Math.max(longestGapMs, Math.round(event.to - event.from));
  }
  return {
    fault,
    carried: 3 * HOLD - lostBefore,
    lost: events.filter((event) => event.event === 'lost' && during(event.at)).length,
    longestGapMs,
  };
}

function sumOf(clients: readonly Client[]): Omit<ChaosTotals, 'event'> {
  const sum = (of: (totals: ChaosTotals) => number): number =>
    clients.reduce((total, { totals }) => total + (totals === undefined ? 0 : of(totals)), 0);
  return {
    tcpConnections: sum((it) => it.tcpConnections),
    tcpReplies: sum((it) => it.tcpReplies),
    datagramsSent: sum((it) => it.datagramsSent),
    datagramsAnswered: sum((it) => it.datagramsAnswered),
    requests: sum((it) => it.requests),
    requestsFailed: sum((it) => it.requestsFailed),
  };
}

interface PodOfCheck {
  readonly metadata: { readonly name: string };
  readonly status: { readonly phase: string; readonly reason?: string };
}

/** The pod that writes most to the disk is evicted when the disk is full, as kubelet does: that is the server of iperf3. */
function isAsItShould({ metadata, status }: PodOfCheck): boolean {
  return status.phase === 'Running' || (metadata.name === 'bulk' && status.reason === 'Evicted');
}

/** What still does not work after the time in which a cluster must recover. */
async function whatDoesNotWork(cluster: Cluster, far: string): Promise<string[]> {
  const checks: readonly [name: string, works: () => Promise<true | undefined>][] = [
    [
      'nodes are not Ready',
      async () => ((await cluster.status()).nodes.every(({ ready }) => ready) ? true : undefined),
    ],
    [
      'pods are not Running',
      async () => {
        const { items } = await cluster.get<{ items: PodOfCheck[] }>('pods');
        return items.length === 3 && items.every(isAsItShould) ? true : undefined;
      },
    ],
    ...[`http://${far}/`, `http://${CLUSTER_IP}/`].map((url): (typeof checks)[number] => [
      `${url} does not answer pod near`,
      async () => ((await cluster.fetch(podNetns('near'), url)) === 'ok\n' ? true : undefined),
    ]),
    ...['172.18.0.11', '172.18.0.12'].map((ip): (typeof checks)[number] => [
      `the NodePort of ${ip} does not answer`,
      async () => ((await cluster.fetch('dp-outside', `http://${ip}:31080/`)) === 'ok\n' ? true : undefined),
    ]),
  ];
  const end = performance.now() + SETTLE_MS;
  const failures: string[] = [];
  for (const [name, works] of checks) {
    await eventually(works, Math.max(1000, end - performance.now())).catch((error: Error) =>
      failures.push(`${name} ${SETTLE_MS / 1000} s after the last fault: ${error.message}`),
    );
  }
  return failures;
}
