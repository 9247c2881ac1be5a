/** `dataplane conntrack`: the tracked connections of all nodes. */
import { type FlowText, printFlow } from '../../../native-free-dataplane/print/flow.ts';
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import { nearestWord } from '../../api/nearest-word.ts';
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import { FILTER_OPTIONS, type FlowFilter, readFilter } from '../args/conntrack-filter.ts';
import { dnsLabel } from '../args/values.ts';
import { BRING_UP, failed, NOT_UP, needRoot, usageError } from '../errors.ts';
import { formatOf, note, print } from '../output/output.ts';
import { tableText } from '../output/table.ts';
import type { Flow } from '../sources/conntrack.ts';
import type { FlowEvent } from '../sources/conntrack-events.ts';

const VERBS = ['list', 'count', 'flush'] as const;

export const command: Command = {
  usage: [
    'conntrack [list] [--node NODE] [FILTERS] [--follow]',
    'conntrack count [--node NODE] [FILTERS]',
    'conntrack flush [--node NODE] [FILTERS]',
  ],
  about: `Show the tracked connections: addresses of both directions (they differ if translated), state, seconds left,
packets and bytes of both directions, laid out as by conntrack -L. Every node tracks its own part of a connection.
\`count\` and \`flush\` apply to the connections that match all filters. The next packet of a flushed connection starts
a new one, but a TCP connection in use, and UDP without a service, goes on with its translation.`,
  options: {
    node: { value: 'NODE', help: 'only the connections of this node (default: all nodes of this machine)' },
    ...FILTER_OPTIONS,
    follow: { short: 'E', help: 'print events with their time as they happen, until Ctrl-C' },
    output: { short: 'o', value: 'FORMAT', help: 'json, or wide: with the names of pods and Services' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: [
    'dataplane conntrack -p tcp --dport 31418',
    'dataplane conntrack list --dst-nat -o json',
    'dataplane conntrack -o wide',
    'dataplane conntrack --follow -p tcp --dport 80',
    'dataplane conntrack flush -p udp',
  ],
  run,
};

async function run(args: Args): Promise<void> {
  operandsAtMost('conntrack', args, 1);
  const verb = args.operands[0] ?? 'list';
  if (!VERBS.some((known) => known === verb)) {
    const near = nearestWord(verb, VERBS);
    throw usageError(
      `dataplane conntrack: unknown operation "${verb}"`,
      near ? `did you mean ${near}?` : `expected one of ${VERBS.join(', ')}`,
    );
  }
  const filter = readFilter(args);
  const format = formatOf(args.text('output'), ['json', 'wide']);
  const json = format === 'json';
  const wanted = args.value('node', dnsLabel);
  needRoot('conntrack');
  const source = await import('../sources/conntrack.ts');
  const present = source.nodesWithFlows();
  if (present.length === 0) throw failed(NOT_UP, BRING_UP);
  if (wanted !== undefined && !present.includes(wanted)) {
    throw failed(`there is no node "${wanted}" on this machine`, `expected one of ${present.join(', ')}`);
  }
  const nodes = wanted === undefined ? present : [wanted];
  if (args.flag('follow')) {
    if (verb !== 'list') throw usageError(`--follow cannot be used with ${verb}`, 'it applies to list only');
    return followAll(nodes, filter, json ? undefined : await printerOf(format));
  }
  if (verb === 'count') {
    const filtered = Object.keys(FILTER_OPTIONS).some((name) => args.has(name));
    return count(nodes, json, source, filtered ? filter : undefined);
  }
  const flows = nodes.flatMap((node) => source.readFlows(node)).filter(filter as FlowFilter);
  if (verb === 'flush') {
    let removed = 0;
    for (const node of nodes) {
      removed += source.flushFlows(
        node,
        flows.filter((flow) => flow.node === node).map(({ record }) => record),
      );
    }
    print(`${removed} ${removed === 1 ? 'connection' : 'connections'} removed`);
    return;
  }
  if (json) {
    print(JSON.stringify(flows.map(asJson), null, 2));
    return;
  }
  const lineOf = await printerOf(format);
  for (const flow of flows) print(nodes.length > 1 ? `${flow.node} ${lineOf(flow)}` : lineOf(flow));
  note(`${flows.length} ${flows.length === 1 ? 'connection' : 'connections'} shown`);
}

/** Prints a connection, with names if they are wanted. */
async function printerOf(format: string | undefined): Promise<(flow: FlowText) => string> {
  if (format !== 'wide') return printFlow;
  const [{ readNames }, { printNamedFlow }] = await Promise.all([
    import('../sources/capture.ts'),
    import('../../observe/trace/flow-names.ts'),
  ]);
  const names = await readNames();
  return (flow) => printNamedFlow(flow, names);
}

function count(
  nodes: readonly string[],
  json: boolean,
  { countFlows, readFlows }: typeof import('../sources/conntrack.ts'),
  filter: FlowFilter | undefined,
): void {
  const rows = nodes.map((node) => {
    const { entries, max } = countFlows(node);
    return { node, entries: filter === undefined ? entries : readFlows(node).filter(filter).length, max };
  });
  if (json) print(JSON.stringify(rows, null, 2));
  else
    print(
      tableText([['NODE', 'ENTRIES', 'MAX'], ...rows.map((row) => [row.node, String(row.entries), String(row.max)])]),
    );
}

/**
 * Prints the events of all nodes in order of time, as lines like those of `conntrack -E`, or as JSON objects.
 * @param lineOf undefined: JSON
 */
async function followAll(
  nodes: readonly string[],
  filter: FlowFilter,
  lineOf: ((flow: FlowText) => string) | undefined,
): Promise<void> {
  const { followFlows } = await import('../sources/conntrack-events.ts');
  const { monotonicMs } = await import('../../linux/clock.ts');
  // Read once: two readings of the two clocks differ by up to a millisecond, which would put events out of order.
  const monotonicEpochMs = Date.now() - monotonicMs();
  const ended = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.abort());
  // The reader of the pipe has ended (`| head`).
  process.stdout.on('error', () => ended.abort());
  await followFlows(nodes, {
    ended: ended.signal,
    onEvent: ({ node, kind, flow, atMs }: FlowEvent) => {
      if (!filter(flow)) return;
      const time = new Date(monotonicEpochMs + atMs).toISOString();
      if (lineOf === undefined) print(JSON.stringify({ time, event: kind, ...asJson({ node, record: 0, ...flow }) }));
      else print(`${time} ${nodes.length > 1 ? `${node} ` : ''}${`[${kind}]`.padStart(9)} ${lineOf(flow)}`);
    },
    onMissed: (node, count) =>
      note(`node ${node}: ${count} events were lost, because they came faster than they could be read`),
  });
}

/** The documented JSON form (docs/cli.md). */
function asJson({ record: _, protocol, node, ...flow }: Flow) {
  return { node, protocol: protocolName(protocol), ...flow };
}
