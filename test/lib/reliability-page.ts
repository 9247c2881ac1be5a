/**
 * docs/reliability.md, made from the reports of the runs (docs/reliability/*.json): every number in it was measured by the
 * command beside it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ChaosResult, FaultOutcome } from './chaos/run.ts';
import { ROOT } from './cluster.ts';

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

/** Results of bench/net/agent-kills.ts. */
interface AgentKills {
  readonly signal: string;
  readonly times: number;
  readonly connections: number;
  readonly lost: number;
  /** Median. */
  readonly gapMs: number;
  readonly longestMs: number;
  readonly undisturbedMs: number;
}

const DIRECTORY = join(ROOT, 'docs/reliability');

function read<T>(name: string): T | undefined {
  const path = join(DIRECTORY, `${name}.json`);
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as T) : undefined;
}

const table = (head: readonly string[], rows: readonly (readonly (string | number)[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

export function reliabilityPage(): string {
  const [fuzz, chaos] = [read<FuzzReport>('fuzz'), read<ChaosReport>('chaos')];
  const kills = read<readonly AgentKills[]>('agent-kills');
  const sections = [HEAD, chaos && chaosSection(chaos), kills && killsSection(kills), fuzz && fuzzSection(fuzz), LEAKS];
  return `${sections.filter((section) => section !== undefined).join('\n\n')}\n`;
}

const HEAD = `# Reliability

What was done to the data plane, and what it cost. \`npm run docs\` makes this page from the reports of the runs, in
\`docs/reliability/\`; the numbers depend on the machine and on what else it was doing: these are of one with two cores
and other work on both. Short forms of fuzzing, faults and kills are in \`npm test\`. Not run to their full length so far:
300 million frames, an hour of faults, 20,000 pods and 500 clusters.`;

function chaosSection(report: ChaosReport): string {
  const { date, seed, seconds, outcomes, totals, wrkRequests, wrkErrors, failures } = report;
  const kinds = [...new Set(outcomes.map(({ fault }) => fault.kind))].sort();
  const rows = kinds.map((kind) => {
    const its = outcomes.filter(({ fault }) => fault.kind === kind);
    const sum = (of: (outcome: FaultOutcome) => number) => its.reduce((total, outcome) => total + of(outcome), 0);
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

\`npm run chaos -- --seconds ${seconds} --seed ${seed}\`, ${date.slice(0, 10)}: two nodes, ${outcomes.length} faults one after the other, with
long-lived TCP connections, UDP echo, new HTTP connections and wrk at the same time, and iperf3 until a full disk has its server evicted. A gap is a silence of any one connection or
client that overlaps the fault; TCP's own waiting after a loss is part of it.

${table(['fault', 'times', 'connections carried', 'lost', 'requests failed', 'longest gap'], rows)}

${totals.tcpConnections} connections were held and had ${totals.tcpReplies} replies, each checked; ${totals.datagramsAnswered} of ${totals.datagramsSent} datagrams
were answered; ${totals.requestsFailed} of ${totals.requests} requests failed; wrk made ${wrkRequests} requests with ${wrkErrors} errors. ${verdict}`;
}

function killsSection(kills: readonly AgentKills[]): string {
  const rows = kills.map(({ signal, times, connections, lost, gapMs, longestMs, undisturbedMs }) => [
    `${signal} of an agent`,
    times,
    connections,
    lost,
    `${gapMs} ms`,
    `${longestMs} ms`,
    `${undisturbedMs} ms`,
  ]);
  return `## The end of an agent

A standby process forwards while a node has no agent ([ADR 8](adr/0008-a-standby-forwards-without-an-agent.md)). Made by
\`bench/net/agent-kills.js\`, with a datagram every millisecond and the connections between two nodes; the machine and its other load are in
[bench/README.md](../bench/README.md#the-end-of-an-agent). A gap is the longest time without an echo, and contains how late the programs are
themselves.

${table(['fault', 'times', 'connections', 'lost', 'gap p50', 'longest', 'undisturbed'], rows)}`;
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

\`npm run fuzz -- --seconds ${seconds} --seed ${seed}\`, ${date.slice(0, 10)}. ${clean ? 'Nothing failed.' : 'Some targets failed.'} A block is a
piece of the code between two branches, as V8 counts coverage.

${table(['target', 'how', 'time', 'inputs', 'units', 'blocks reached'], cells)}`;
}

const LEAKS = `## Leaks

\`npm run leaks -- --pods N --cycles N\` starts and deletes pods in one cluster, and brings clusters up and takes them down. It fails if
descriptors, threads, namespaces, mounts, processes or shared memory of the cluster grow.`;
