/**
 * docs/reliability.md, made from the reports of the runs (docs/reliability/*.json): every number in it was measured by the
 * command beside it.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ChaosResult, FaultOutcome } from './chaos/run.ts';
import { ROOT } from './cluster.ts';
import type { FloodReport } from './floods/report.ts';
import type { LeaksReport } from './leaks.ts';

/** One target in one run of `npm run fuzz`. */
export interface FuzzRow {
  readonly target: string;
  readonly how: string;
  readonly seconds: number;
  readonly inputs: number;
  readonly units: number;
  readonly unit: string;
  readonly blocks: number;
}

/** What `npm run fuzz -- --report` writes. */
export interface FuzzReport {
  readonly date: string;
  readonly seed: number;
  readonly seconds: number;
  /** The targets, if not all were run. */
  readonly only?: readonly string[];
  readonly clean: boolean;
  readonly rows: readonly FuzzRow[];
}

/** What `npm run chaos -- --report` writes. */
export interface ChaosReport extends ChaosResult {
  readonly date: string;
  readonly seed: number;
  readonly seconds: number;
  /** Seconds that it really took. */
  readonly took: number;
}

/** Results of bench/net/agent-kills.ts: one fault, many times. */
export interface NodeFaults {
  readonly date: string;
  /** What it did, such as `SIGKILL of an agent`. */
  readonly fault: string;
  readonly times: number;
  readonly connections: number;
  readonly lost: number;
  /** Median, 99th percentile and maximum of the gaps. */
  readonly gapMs: number;
  /** Absent in reports of fewer than a hundred times. */
  readonly p99Ms?: number;
  readonly longestMs: number;
  readonly undisturbedMs: number;
}

/** What full runs have: frames in long streams, seconds of faults, pods, clusters. */
const FULL = { frames: 300_000_000, chaosSeconds: 3600, pods: 20_000, cycles: 500 } as const;

const DIRECTORY = join(ROOT, 'docs/reliability');

function read<T>(name: string): T | undefined {
  const path = join(DIRECTORY, name);
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as T) : undefined;
}

/** The reports of runs that add up: PREFIX-ANYTHING.json, by date. */
function readAll<T extends { readonly date: string }>(prefix: string): T[] {
  const names = readdirSync(DIRECTORY).filter((name) => name.startsWith(`${prefix}-`) && name.endsWith('.json'));
  return names.map((name) => read<T>(name)!).sort((a, b) => (a.date < b.date ? -1 : 1));
}

const table = (head: readonly string[], rows: readonly (readonly (string | number)[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

/** A number with its thousands apart. */
const grouped = (value: number): string => value.toLocaleString('en-US');
const dayOf = (date: string): string => date.slice(0, 10);
const total = <T>(items: readonly T[], of: (item: T) => number): number =>
  items.reduce((sum, item) => sum + of(item), 0);

export function reliabilityPage(): string {
  const [fuzz, chaos] = [read<FuzzReport>('fuzz.json'), read<ChaosReport>('chaos.json')];
  const streams = readAll<FuzzReport>('streams');
  const kills = read<readonly NodeFaults[]>('agent-kills.json');
  const floods = read<FloodReport>('floods.json');
  const leaks = readAll<LeaksReport>('leaks');
  const sections = [
    head({ streams, chaos, leaks }),
    chaos && chaosSection(chaos),
    kills && killsSection(kills),
    floods && floodsSection(floods),
    fuzz && fuzzSection(fuzz),
    streams.length > 0 ? streamsSection(streams) : undefined,
    leaksSection(leaks),
  ];
  return `${sections.filter((section) => section !== undefined).join('\n\n')}\n`;
}

interface LongRuns {
  readonly streams: readonly FuzzReport[];
  readonly chaos: ChaosReport | undefined;
  readonly leaks: readonly LeaksReport[];
}

const framesOf = (reports: readonly FuzzReport[]): number =>
  total(reports, ({ rows }) => total(rows, ({ units }) => units));

/** What was not run to its full length. */
function missing({ streams, chaos, leaks }: LongRuns): string[] {
  const runs: readonly (readonly [name: string, done: number, full: number])[] = [
    ['300 million frames', framesOf(streams), FULL.frames],
    ['an hour of faults', chaos?.seconds ?? 0, FULL.chaosSeconds],
    ['20,000 pods', total(leaks, ({ podsDone = 0 }) => podsDone), FULL.pods],
    ['500 clusters', total(leaks, ({ cyclesDone = 0 }) => cyclesDone), FULL.cycles],
  ];
  return runs.filter(([, done, full]) => done < full).map(([name]) => name);
}

function head(runs: LongRuns): string {
  const names = missing(runs);
  const short = names.length === 0 ? '' : ` Not run to their full length so far:\n${names.join(', ')}.`;
  return `# Reliability

What was done to the data plane, and what it cost. \`npm run docs\` makes this page from the reports of the runs, in
\`docs/reliability/\`; the numbers depend on the machine and on what else it was doing: these are of one with two cores.
Short forms of fuzzing, faults and kills are in \`npm test\`.${short}`;
}

function chaosSection(report: ChaosReport): string {
  const { date, seed, seconds, outcomes, totals, wrkRequests, wrkErrors, failures } = report;
  const kinds = [...new Set(outcomes.map(({ fault }) => fault.kind))].sort();
  const rows = kinds.map((kind) => {
    const its = outcomes.filter(({ fault }) => fault.kind === kind);
    const sum = (of: (outcome: FaultOutcome) => number) => total(its, of);
    const longest = Math.max(...its.map(({ longestGapMs }) => longestGapMs));
    return [
      kind,
      its.length,
      Math.min(...its.map(({ carried }) => carried)),
      sum(({ lost }) => lost),
      sum(({ requestsFailed }) => requestsFailed),
      longest === 0 ? 'under 200 ms' : `${longest} ms`,
    ];
  });
  const verdict = failures.length === 0 ? 'Nothing failed.' : `Failed: ${failures.join('; ')}.`;
  return `## Faults under load

\`npm run chaos -- --seconds ${seconds} --seed ${seed}\`, ${dayOf(date)}: two nodes, ${outcomes.length} faults one after the other, with
long-lived TCP connections, UDP echo, new HTTP connections and wrk at the same time, and iperf3 until a full disk has its server evicted. A gap is a silence of any one connection or
client that overlaps the fault; TCP's own waiting after a loss is part of it.

${table(['fault', 'times', 'connections carried', 'lost', 'requests failed', 'longest gap'], rows)}

${totals.tcpConnections} connections were held and had ${totals.tcpReplies} replies, each checked; ${totals.datagramsAnswered} of ${totals.datagramsSent} datagrams
were answered; ${totals.requestsFailed} of ${totals.requests} requests failed; wrk made ${wrkRequests} requests with ${wrkErrors} errors. ${verdict}`;
}

function killsSection(kills: readonly NodeFaults[]): string {
  const rows = kills.map((row) => [
    row.fault,
    row.times,
    grouped(row.connections),
    row.lost,
    `${row.gapMs} ms`,
    row.p99Ms === undefined ? '' : `${row.p99Ms} ms`,
    `${row.longestMs} ms`,
    `${row.undisturbedMs} ms`,
    dayOf(row.date),
  ]);
  return `## The end of an agent, and of a worker

A standby process forwards while a node has no agent ([ADR 8](adr/0008-a-standby-forwards-without-an-agent.md)), and a worker that fails is
replaced by a thread that waits for it. Made by \`bench/net/agent-kills.js\`, with a datagram every millisecond and the connections between two
nodes ([bench/README.md](../bench/README.md#the-end-of-an-agent)). A gap is the longest time without an echo around one fault, until its
successor forwards, and contains how late the programs are themselves: that is the last column but one.

${table(['fault', 'times', 'connections', 'lost', 'gap p50', 'p99', 'longest', 'undisturbed', 'date'], rows)}`;
}

function floodsSection({ date, seconds, rows }: FloodReport): string {
  const cells = rows.map((row) => [
    row.flood,
    grouped(row.sent),
    `${row.quietP99Ms} ms`,
    `${row.p99Ms} ms`,
    row.held,
    row.lost,
    `${row.opened - row.failed} of ${row.opened}`,
  ]);
  return `## Floods

\`npm run floods -- --seconds ${seconds}\`, ${dayOf(date)}: each flood in turn, while two pods on different nodes exchange datagrams,
hold connections and open new ones. The time is that of a round trip.

${table(['flood', 'packets', 'p99 before', 'p99', 'connections held', 'lost', 'new ones that worked'], cells)}`;
}

function fuzzSection({ date, seed, seconds, clean, rows }: FuzzReport): string {
  const cells = rows.map(({ target, how, seconds: took, inputs, units, unit, blocks }) => [
    target,
    how,
    `${took} s`,
    inputs,
    `${units} ${unit}`,
    blocks === 0 ? '' : blocks,
  ]);
  return `## Fuzzing

\`npm run fuzz -- --seconds ${seconds} --seed ${seed}\`, ${dayOf(date)}. ${clean ? 'Nothing failed.' : 'Some targets failed.'} A block is a
piece of the code between two branches, as V8 counts coverage.

${table(['target', 'how', 'time', 'inputs', 'units', 'blocks reached'], cells)}`;
}

function streamsSection(reports: readonly FuzzReport[]): string {
  const rows = reports.map(({ date, seed, seconds, clean, rows: targets }) => [
    `\`npm run fuzz -- --only streams --seconds ${seconds} --seed ${seed}\``,
    dayOf(date),
    grouped(total(targets, ({ units }) => units)),
    `${Math.round(total(targets, ({ seconds: took }) => took))} s`,
    clean ? 'nothing' : 'see the report',
  ]);
  return `### Long streams

${grouped(framesOf(reports))} frames in all.

${table(['run', 'date', 'frames', 'time', 'failed'], rows)}`;
}

function leaksSection(reports: readonly LeaksReport[]): string {
  const about = `## Leaks

\`npm run leaks -- --pods N --cycles N\` starts and deletes pods in one cluster, and brings clusters up and takes them down. It fails if
descriptors, threads, namespaces, mounts, processes or shared memory of the cluster grow, or in a long run its memory or store.`;
  return [about, ...reports.map(leaksRun)].join('\n\n');
}

function leaksRun(report: LeaksReport): string {
  const { date, pods, cycles, podsDone = 0, cyclesDone = 0, first, last, quarters, result, problems } = report;
  const lines = [
    `\`npm run leaks -- --pods ${pods} --cycles ${cycles}\`, ${dayOf(date)}: ${grouped(podsDone)} pods and ${grouped(cyclesDone)} clusters.`,
  ];
  if (problems === undefined) lines.push('It was interrupted.');
  else lines.push(problems.length === 0 ? 'Nothing grew.' : `What grew: ${problems.join('; ')}.`);
  const counts: [string, number, number][] = [];
  if (first !== undefined && last !== undefined) {
    for (const name of Object.keys(first) as (keyof typeof first)[]) counts.push([name, first[name], last[name]]);
  }
  for (const [name, [second, fourth]] of Object.entries(quarters ?? {})) {
    counts.push([`${name}, medians of the second and the last quarter`, second, fourth]);
  }
  if (result !== undefined) {
    counts.push(['mounts after a cluster', ...result.mounts], ['processes after a cluster', ...result.processes]);
  }
  return counts.length === 0
    ? lines.join(' ')
    : `${lines.join(' ')}\n\n${table(['held', 'after the first round', 'after the last'], counts)}`;
}
