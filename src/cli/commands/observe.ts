/** `dataplane observe`: flows of all nodes, with Hubble's filters and formats. */
import { createReadStream, statSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Flow, FlowResponse } from '../../observe/hubble/flow.ts';
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import { endOnSignals } from '../args/capture-args.ts';
import {
  FLOW_FILTER_OPTIONS,
  mayBeConnections,
  mayBeMessages,
  nodesThatMayPass,
  readFlowFilters,
} from '../args/flow-filter.ts';
import { pointInTime } from '../args/point-in-time.ts';
import { oneOf, wholeNumber } from '../args/values.ts';
import { BRING_UP, failed, NOT_UP, needRoot, usageError } from '../errors.ts';
import { FLOW_FORMATS, FlowPrinter } from '../output/flow-printer.ts';
import { note } from '../output/output.ts';
import type { FlowEvent } from '../sources/conntrack-events.ts';
import type { DropEvent } from '../sources/drop-events.ts';
import type { EventSource } from '../sources/follow-events.ts';
import type { MessageEvent } from '../sources/message-events.ts';

export const command: Command = {
  usage: [
    'observe [--follow] [--last N] [--since TIME] [FILTERS]',
    'observe --input-file FILE [--last N] [FILTERS]',
    'observe --serve ADDRESS [--flow-log DIR --flow-log-size MB]',
  ],
  about: `Show flows: connections as they start, are answered and end, packets that did not arrive, and while flows are
followed also queries and answers of name servers, with the names of pods, Services and nodes. Options, filters and formats are those of \`hubble observe\`, whose program can read -o jsonpb.
Without --follow, the flows are shown that the nodes still hold: they record connections only while they are followed, and
drops always.`,
  options: {
    follow: { short: 'f', help: 'print flows as they happen, until Ctrl-C' },
    last: { value: 'N', help: 'the last N flows (default 20; with --since or --until all)' },
    first: { value: 'N', help: 'the first N flows' },
    all: { help: 'all flows' },
    since: { value: 'TIME', help: 'only flows since then: an age such as 90s or 1h30m, or 2026-11-28T13:00:00Z' },
    until: { value: 'TIME', help: 'only flows until then' },
    'input-file': {
      value: 'FILE',
      help: 'read flows from a file that -o jsonpb wrote, from the directory of a --flow-log, or from - (stdin)',
    },
    serve: { value: 'ADDRESS', help: "serve Hubble's API: localhost:4245 for the hubble program, or unix:PATH" },
    'flow-log': { value: 'DIR', help: 'with --serve: also keep flows in files, for --since' },
    'flow-log-size': { value: 'MB', help: 'with --flow-log: megabytes of the files together (default 100)' },
    http: { help: 'with --follow or --serve: also requests and responses of HTTP/1, without bodies' },
    ...FLOW_FILTER_OPTIONS,
    output: { short: 'o', value: 'FORMAT', help: 'compact (default), table, dict, json or jsonpb' },
    'print-node-name': { help: 'print the node that has seen the flow' },
    'print-policy-names': { help: 'print the policies that allowed or denied a connection (--type policy-verdict)' },
    numeric: { help: 'print addresses instead of names' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: [
    'dataplane observe -f --pod client',
    'dataplane observe -f --verdict DROPPED --print-node-name',
    'dataplane observe --type policy-verdict --print-policy-names',
    'dataplane observe -f --protocol dns --pod client',
    'dataplane observe -f --http --http-status 5+',
    'dataplane observe -f --to-service web --not --from-ip 10.244.1.0/24',
    'dataplane observe --serve localhost:4245 --flow-log /var/log/dataplane-flows',
    'dataplane observe -f -o jsonpb | hubble observe --input-file - --protocol tcp',
  ],
  run,
};

/** Default of --last, as in Hubble. */
const LAST = 20;
/** Which of the recorded flows to show. */
interface Selection {
  /** May messages of applications be among them? */
  readonly messages: boolean;
  /** May events of connections be among them? */
  readonly connections: boolean;
  readonly passes: (flow: Flow) => boolean;
  readonly last: number | undefined;
  readonly first: number | undefined;
}

async function run(args: Args): Promise<void> {
  operandsAtMost('observe', args, 0);
  if (args.has('serve')) return serve(args);
  for (const name of ['flow-log', 'flow-log-size']) if (args.has(name)) throw usageError(`--${name} needs --serve`);
  const following = args.flag('follow');
  if (args.has('http') && !following)
    throw usageError('--http needs --follow or --serve', 'nodes do not keep requests');
  const selection = readSelection(args, following);
  const format = args.value('output', oneOf(...FLOW_FORMATS)) ?? 'compact';
  const options = {
    nodeName: args.flag('print-node-name'),
    numeric: args.flag('numeric'),
    policyNames: args.flag('print-policy-names'),
  };
  const printer = new FlowPrinter(format, options, following);
  const file = args.text('input-file');
  if (file !== undefined) {
    if (following) throw usageError('--follow cannot be used with --input-file');
    return readFile(file, selection, printer);
  }
  needRoot('observe');
  const { nodesWithFlows } = await import('../sources/conntrack.ts');
  const nodes = nodesWithFlows();
  if (nodes.length === 0) throw failed(NOT_UP, BRING_UP);
  const { openFlowNames } = await import('../sources/flow-names.ts');
  const names = await openFlowNames();
  if (names.missing !== undefined) note(`names are missing: ${names.missing}`);
  try {
    const of = { nodes, passing: nodesThatMayPass(args, nodes), names };
    if (following) await follow({ ...of, http: args.flag('http') }, selection, printer);
    else await showPast(of, selection, printer);
  } finally {
    names.close();
  }
}

/** Megabytes of --flow-log by default. */
const LOG_MB = 100;
const MEGABYTE = 1_000_000;

/** `--serve` */
async function serve(args: Args): Promise<void> {
  const address = args.text('serve')!;
  if (!/^(unix:\/.+|(localhost|127\.\d+\.\d+\.\d+|\[::1\]):\d{1,5})$/.test(address)) {
    throw usageError(
      `--serve ${address}: expected an address of this machine alone, such as localhost:4245 or unix:/run/flows.sock`,
    );
  }
  const others = args.inOrder.find(({ name }) => !['serve', 'flow-log', 'flow-log-size', 'http'].includes(name));
  if (others !== undefined)
    throw usageError(`--${others.name} cannot be used with --serve`, 'give filters to `hubble observe`');
  const directory = args.text('flow-log');
  const megabytes = args.value('flow-log-size', wholeNumber(1, 1_000_000, 'megabytes'));
  if (megabytes !== undefined && directory === undefined) throw usageError('--flow-log-size needs --flow-log');
  needRoot('observe');
  const [{ nodesWithFlows }, { openFlowNames }, { serveFlows }] = await Promise.all([
    import('../sources/conntrack.ts'),
    import('../sources/flow-names.ts'),
    import('../sources/observe-server.ts'),
  ]);
  const nodes = nodesWithFlows();
  if (nodes.length === 0) throw failed(NOT_UP, BRING_UP);
  const names = await openFlowNames();
  const log = directory === undefined ? undefined : { directory, bytes: (megabytes ?? LOG_MB) * MEGABYTE };
  const started = (): void => note(`serving the flows of ${nodes.join(', ')} at ${address}; Ctrl-C ends`);
  try {
    await serveFlows({ address, log, nodes, http: args.flag('http'), names, started, note }, endOnSignals());
  } finally {
    names.close();
  }
}

function readSelection(args: Args, following: boolean): Selection {
  const filters = readFlowFilters(args);
  const time = pointInTime(Date.now());
  const since = args.value('since', time) ?? Number.NEGATIVE_INFINITY;
  const until = args.value('until', time) ?? Number.POSITIVE_INFINITY;
  const given = (['last', 'first', 'all'] as const).filter((name) => args.has(name));
  if (given.length > 1) throw usageError(`--${given.join(' and --')} cannot be combined`);
  if (following && args.has('until')) throw usageError('--until cannot be used with --follow');
  const number = wholeNumber(1, 1_000_000, 'a number of flows');
  const bounded = args.has('since') || args.has('until') || given.length > 0;
  const last =
    args.value('last', number) ?? (following ? (args.has('since') ? undefined : 0) : bounded ? undefined : LAST);
  return {
    messages: mayBeMessages(args),
    connections: mayBeConnections(args),
    passes: (flow) => {
      if (!bounded) return filters.passes(flow);
      const at = Date.parse(flow.time);
      return at >= since && at <= until && filters.passes(flow);
    },
    last,
    first: args.value('first', number),
  };
}

/** The flows of a list that are to be shown. */
function selected(flows: readonly Flow[], { passes, last, first }: Selection): readonly Flow[] {
  const all = flows.filter(passes);
  if (first !== undefined) return all.slice(0, first);
  return last === undefined ? all : all.slice(Math.max(0, all.length - last));
}

type Names = import('../sources/flow-names.ts').FlowNames;

interface Observed {
  readonly nodes: readonly string[];
  /** Those of them whose events can pass the filters. */
  readonly passing: readonly string[];
  readonly names: Names;
}

/** Where events come from: connections, and packets that did not arrive. */
async function eventSources(nodes: readonly string[], { connections }: Selection) {
  const [{ connectionEvents }, { dropEvents }, { followEvents, pastEvents }, { flowsOfEvents }] = await Promise.all([
    import('../sources/conntrack-events.ts'),
    import('../sources/drop-events.ts'),
    import('../sources/follow-events.ts'),
    import('../sources/flow-maker.ts'),
  ]);
  const sources: EventSource<FlowEvent | DropEvent | MessageEvent>[] = [
    ...(connections ? connectionEvents(nodes) : []),
    ...dropEvents(nodes),
  ];
  return { sources, followEvents, pastEvents, flowsOfEvents };
}

async function showPast(
  { nodes, passing, names }: Observed,
  selection: Selection,
  printer: FlowPrinter,
): Promise<void> {
  const { sources, pastEvents, flowsOfEvents } = await eventSources(passing, selection);
  const flowsOf = flowsOfEvents(names, nodes);
  const events = pastEvents(sources);
  for (const source of sources) source.close();
  for (const flow of selected(events.flatMap(flowsOf), selection)) printer.flow(flow);
  printer.end();
  if (selection.connections && !events.some(({ kind }) => kind !== 'DROP'))
    note('no connections are recorded: nodes record them only while `dataplane observe -f` runs');
}

interface Followed extends Observed {
  /** Also HTTP. */
  readonly http: boolean;
}

async function follow(
  { nodes, passing, names, http }: Followed,
  selection: Selection,
  printer: FlowPrinter,
): Promise<void> {
  const { sources, followEvents, flowsOfEvents } = await eventSources(passing, selection);
  if (selection.messages) {
    const { messageEvents } = await import('../sources/message-events.ts');
    sources.push(...messageEvents(nodes, { http, note }));
  }
  const flowsOf = flowsOfEvents(names, nodes);
  const ended = endOnSignals();
  // The reader of the pipe has ended (`| head`).
  process.stdout.on('error', () => ended.abort());
  const lost = new Map<string, number>();
  await followEvents(sources, {
    ended: ended.signal,
    onPast: (events) => {
      for (const flow of selected(events.flatMap(flowsOf), selection)) printer.flow(flow);
    },
    onEvent: (event) => {
      for (const flow of flowsOf(event)) if (selection.passes(flow)) printer.flow(flow);
    },
    onMissed: (node, count) => {
      if (!printer.lost(node, count, new Date().toISOString()) && !lost.has(node)) {
        note(`node ${node}: events are lost, because they come faster than they can be read`);
      }
      lost.set(node, (lost.get(node) ?? 0) + count);
    },
  });
  for (const [node, count] of lost) note(`node ${node}: ${count} events were lost`);
}

/** Shows flows that were written as JSON, one a line. */
async function readFile(file: string, selection: Selection, printer: FlowPrinter): Promise<void> {
  const flows: Flow[] = [];
  let malformed = 0;
  let lost = 0;
  try {
    for await (const line of linesOf(file)) {
      const response = parseResponse(line);
      if (response?.flow !== undefined && selection.passes(response.flow)) keep(flows, response.flow, selection);
      else if (response?.lost_events !== undefined) lost += Number(response.lost_events.num_events_lost);
      else if (response === undefined && line.trim() !== '') malformed++;
    }
  } catch (error) {
    throw failed(`${file} cannot be read: ${(error as Error).message}`, 'give a file that -o jsonpb wrote');
  }
  for (const flow of flows) printer.flow(flow);
  printer.end();
  if (lost > 0) note(`${lost} events were lost when the file was written`);
  if (malformed > 0) throw failed(`${file}: ${malformed} lines are not flows`, 'give a file that -o jsonpb wrote');
}

/** The lines of a file, of all files of a flow log, or of standard input ('-'). */
async function* linesOf(file: string): AsyncIterable<string> {
  const { logFiles } = await import('../../observe/hubble/server/flow-store.ts');
  const files = file !== '-' && statSync(file).isDirectory() ? logFiles(file) : [file];
  if (files.length === 0) throw new Error('the directory has no files of a flow log');
  for (const one of files) {
    const input = one === '-' ? process.stdin : createReadStream(one);
    yield* createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  }
}

/** Bounds what is kept of a long file. */
function keep(flows: Flow[], flow: Flow, { first, last }: Selection): void {
  if (first !== undefined && flows.length >= first) return;
  flows.push(flow);
  if (last !== undefined && flows.length > last) flows.shift();
}

function parseResponse(line: string): FlowResponse | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== 'object' || value === null) return undefined;
    const { flow } = value as FlowResponse;
    return flow === undefined || typeof flow.time === 'string' ? (value as FlowResponse) : undefined;
  } catch {
    return undefined;
  }
}
