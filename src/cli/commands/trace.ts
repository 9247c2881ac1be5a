/** `dataplane trace`: follows a packet through copies of the live tables and explains every step. */
import { readFileSync } from 'node:fs';
import type { CapturedFrame } from '../../../native-free-dataplane/capture/frame.ts';
import { CaptureReader } from '../../../native-free-dataplane/capture/reader.ts';
import { PROTOCOL_TCP } from '../../../native-free-dataplane/protocols.ts';
import { MAX_FRAME_BYTES, MIN_FRAME_BYTES } from '../../observe/trace/frame-size.ts';
import type { NamedObjects } from '../../observe/trace/names.ts';
import type { EndArg, Resolver, Start } from '../../observe/trace/resolver.ts';
import type { Place, Walk } from '../../observe/trace/walk.ts';
import { type Args, type Command, needOperand, operandsAtMost } from '../args/args.ts';
import { endOnSignals, filterText, readCapturedPod } from '../args/capture-args.ts';
import { endOf, readTarget, type Target } from '../args/target.ts';
import { readEnd, readFlags, readHex, readProtocol } from '../args/trace-packet.ts';
import { dnsLabel, portNumber, seconds, wholeNumber } from '../args/values.ts';
import { BRING_UP, failed, NOT_UP, needRoot, usageError } from '../errors.ts';
import { paint } from '../output/highlight.ts';
import { formatOf, note, print } from '../output/output.ts';
import { terminalOf, wrap } from '../output/table.ts';
import { NAMESPACE_OPTION, namespaceOf, withClient } from '../with-client.ts';

const FORMATS = ['json', 'mermaid'] as const;
const MAX_COLUMNS = 80;
/** The largest payload that fits an underlay with jumbo frames. */
const MAX_PAYLOAD = 9000;

export const command: Command = {
  usage: [
    'trace FROM --to TO[:PORT] [--protocol tcp|udp|icmp] [--tcp-flags FLAGS] [--src-port N]',
    'trace [FROM] --hex FRAME',
    'trace [FROM] --pcap FILE [--frame N | --paths]',
    'trace --live [--node NODE] [--pod POD] [-c N] [--paths] [FILTER]',
  ],
  about: `Show what would happen to a packet, without sending it and without changing anything. The forwarding pipeline
runs over copies of the tables of this machine's nodes, from node to node to the packet's destination, and back with the
reply. Every step has the source line that decided, the table row that it read, and what it changed. FROM and TO are
pod/NAME, node/NAME or an IPv4 address. FROM can also be outside, TO also svc/NAME[:PORT] with the port's number or name.
With --live, packets that the nodes receive are traced as they are forwarded: those that match FILTER, an expression of
tcpdump. Only these take longer, and at most 200 a second and worker are traced.`,
  options: {
    to: { value: 'TO', help: 'the destination, also a name such as web.shop' },
    from: { value: 'FROM', help: 'the same as the operand FROM' },
    'from-outside': { help: 'the same as --from outside' },
    protocol: { short: 'p', value: 'NAME', help: 'tcp, udp or icmp (default: tcp)' },
    'tcp-flags': { value: 'FLAGS', help: 'letters of SAFRPU (default: S)' },
    'src-port': { value: 'N', help: 'source port, or identifier of an echo request (default: 40000)' },
    src: { value: 'ADDRESS', help: "source address (default: the sender's own)" },
    ttl: { value: 'N', help: 'time to live (default: 64)' },
    length: { value: 'BYTES', help: 'bytes of payload (default: 0)' },
    hex: { value: 'FRAME', help: 'an Ethernet frame in hexadecimal' },
    pcap: { value: 'FILE', help: 'an Ethernet frame of a capture file (pcap or pcapng)' },
    frame: { value: 'N', help: 'which frame of the capture (default: 1)' },
    paths: { help: 'how many packets took which path: all frames of --pcap, or live packets until the end' },
    live: { help: 'trace packets as they are forwarded, until Ctrl-C' },
    count: { short: 'c', value: 'N', help: 'with --live: end after N packets' },
    duration: { value: 'TIME', help: 'with --live: end after this time, such as 30s' },
    node: { value: 'NODE', help: 'with --live: only on this node' },
    pod: { value: 'POD', help: 'with --live: only packets of this pod, by its name or address' },
    ...NAMESPACE_OPTION,
    output: { short: 'o', value: 'FORMAT', help: 'json or mermaid' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: [
    'dataplane trace pod/client --to svc/mc3:80',
    'dataplane trace outside --to 172.18.0.11:31418',
    'dataplane trace pod/client --to 10.96.0.10:53 -p udp -o json',
    'dataplane trace pod/client --pcap bad.pcap --frame 7',
    'dataplane trace --live -c 3 host 10.96.0.10 and tcp port 80',
    'dataplane trace --pcap bad.pcap --paths',
  ],
  run,
};

/** Options that only one of the forms has. */
const LIVE_ONLY = ['count', 'duration', 'node', 'pod'] as const;
const NOT_LIVE = [
  'to',
  'from',
  'from-outside',
  'protocol',
  'tcp-flags',
  'src-port',
  'src',
  'ttl',
  'length',
  'hex',
  'pcap',
  'frame',
];

async function run(args: Args): Promise<void> {
  if (args.flag('live')) return live(args);
  const misplaced = LIVE_ONLY.find((name) => args.has(name));
  if (misplaced !== undefined) throw usageError(`--${misplaced} needs --live`);
  const file = args.text('pcap');
  if (args.flag('paths') && (file === undefined || args.has('frame'))) {
    throw usageError('--paths needs --pcap without --frame, or --live');
  }
  operandsAtMost('trace', args, 1);
  const from = readFrom(args);
  if (args.flag('paths')) return paths(args, from, file!);
  const given = readFrame(args);
  if (given === undefined && from === undefined) needOperand('trace', args, 0, 'FROM');
  const to = args.value('to', (text) => readTarget(text, undefined));
  if (given === undefined && to === undefined)
    throw usageError('dataplane trace: --to is missing', 'see `dataplane trace --help`');
  if (given !== undefined && to !== undefined)
    throw usageError('--to cannot be used with --hex or --pcap', 'the frame has a destination');
  const fields = readFields(args);
  const format = args.text('output');
  if (format !== undefined && !FORMATS.some((known) => known === format)) {
    throw usageError(`-o ${format}: expected ${FORMATS.join(' or ')}`);
  }
  const namespace = namespaceOf(args);
  needRoot('trace');

  const [source, { readLosses }] = await Promise.all([
    import('../sources/trace.ts'),
    import('../sources/node-kernels.ts'),
  ]);
  const [objects, lossAt] = await Promise.all([namedObjects(), readLosses()]);
  const start = (resolver: Resolver): Start => {
    if (given === undefined) return resolver.packet({ from: from!, ...endOf(to!, namespace), namespace, ...fields });
    return {
      from: from === undefined ? placeOf(resolver, given) : resolver.place(from, namespace),
      frame: given.bytes,
    };
  };
  const begins = given === undefined && (fields.protocol ?? PROTOCOL_TCP) === PROTOCOL_TCP && !args.has('tcp-flags');
  const cause = begins ? await causeOf(from!, to!, namespace) : undefined;
  let walk: Walk | undefined;
  try {
    walk = source.walkLive(objects, start, { lossAt });
  } catch (error) {
    // There is nothing to send the packet to.
    throw cause !== undefined && (error as Error).name === 'TraceRequestError' ? failed(cause) : error;
  }
  if (walk === undefined) throw failed(NOT_UP, BRING_UP);
  await show(walk, format);
  if (cause !== undefined && format === undefined) showLines([{ indent: 0, text: `Cause: ${cause}.`, kind: 'bad' }]);
}

/**
 * What is in the way of such a connection, also beyond the tables, as `dataplane why` names it; undefined: nothing that can
 * be seen without sending, or it cannot be looked at.
 */
async function causeOf(from: EndArg, to: Target, namespace: string): Promise<string | undefined> {
  const { kind, name } = from;
  if (kind === 'svc' || kind === 'ip') return undefined;
  const place = kind === 'pod' ? { kind, name, namespace } : kind === 'node' ? { kind, name } : { kind };
  const { diagnose } = await import('../sources/diagnosis.ts');
  try {
    const checks = await diagnose(place, to, namespace, { sends: false });
    return checks.find(({ ok }) => !ok)?.text.replace(/\.$/, '');
  } catch {
    // Of the trace itself, errors are reported.
    return undefined;
  }
}

/** The objects that addresses are named after; none if the API does not respond. */
async function namedObjects(): Promise<NamedObjects> {
  const [{ readNamedObjects }, { NO_OBJECTS }] = await Promise.all([
    import('../sources/trace.ts'),
    import('../../observe/trace/names.ts'),
  ]);
  try {
    return await withClient(readNamedObjects);
  } catch (error) {
    note(`addresses are shown without names, because the API does not respond (${(error as Error).message})`);
    return NO_OBJECTS;
  }
}

/** `--pcap FILE --paths` */
async function paths(args: Args, from: EndArg | undefined, file: string): Promise<void> {
  const json = formatOf(args.text('output'), ['json']) === 'json';
  needRoot('trace');
  const [{ copyNodes, outsideAddress }, { Resolver }, { Names }, { tracePaths }, { processTraced }] = await Promise.all(
    [
      import('../sources/trace.ts'),
      import('../../observe/trace/resolver.ts'),
      import('../../observe/trace/names.ts'),
      import('../sources/trace-paths.ts'),
      import('../../../native-free-dataplane/trace/traced.ts'),
    ],
  );
  const { nodes, nowMs } = copyNodes();
  if (nodes.length === 0) throw failed(NOT_UP, BRING_UP);
  const names = new Names(await namedObjects());
  const resolver = new Resolver(nodes, names, outsideAddress);
  const start = from === undefined ? undefined : resolver.place(from, namespaceOf(args));
  const request = { file, from: start, nodes, names, resolver, process: processTraced, nowMs };
  const { paths: found, leftOut, damage } = await tracePaths(request);
  await showPaths(found, json);
  if (leftOut > 0) note(`${leftOut} frames are left out: not IPv4, truncated, or what a node has sent`);
  if (damage !== '') throw failed(`${file}: ${damage}`);
}

/** `--live` */
async function live(args: Args): Promise<void> {
  const misplaced = NOT_LIVE.find((name) => args.has(name));
  if (misplaced !== undefined) throw usageError(`--${misplaced} cannot be used with --live`);
  const json = formatOf(args.text('output'), ['json']) === 'json';
  const filter = filterText(args);
  const count = args.value('count', wholeNumber(1, 1_000_000, 'packets')) ?? Number.POSITIVE_INFINITY;
  const duration = args.value('duration', seconds);
  const place = { node: args.value('node', dnsLabel), pod: readCapturedPod(args) };
  const { checkFilter } = await import('../sources/capture.ts');
  checkFilter(filter);
  needRoot('trace');
  const [{ traceLive }, { Paths }, { nodeLines }] = await Promise.all([
    import('../sources/live-trace.ts'),
    import('../../observe/trace/paths.ts'),
    import('../../observe/trace/print.ts'),
  ]);
  const grouped = args.flag('paths') ? new Paths() : undefined;
  const ended = endOnSignals(duration);
  let number = 0;
  const untraced = await traceLive(
    { filter, count, ...place },
    {
      note,
      started: (places) => note(`tracing on ${places.join(', ')}; Ctrl-C ends`),
      trace: (trace, time) => {
        number++;
        if (grouped !== undefined) grouped.add([trace], number);
        else if (json) print(JSON.stringify({ time: new Date(time * 1000).toISOString(), ...trace }));
        else showLines([...nodeLines(trace), { indent: 0, text: '', kind: 'plain' }]);
      },
    },
    ended,
  );
  if (grouped !== undefined) await showPaths(grouped, json);
  if (untraced > 0) note(`${untraced} packets matched and were not traced: they came faster than 200 a second`);
}

async function showPaths(found: import('../../observe/trace/paths.ts').Paths, json: boolean): Promise<void> {
  if (json) return print(JSON.stringify(found.all, null, 2));
  const { pathLines } = await import('../../observe/trace/paths.ts');
  showLines(pathLines(found));
}

function readFrom(args: Args): EndArg | undefined {
  const ways = [args.operands[0], args.text('from'), args.flag('from-outside') ? 'outside' : undefined].filter(
    (text): text is string => text !== undefined,
  );
  if (ways.length > 1) throw usageError(`the sender is given twice, as ${ways.join(' and as ')}`, 'give it once');
  return ways[0] === undefined ? undefined : readEnd(ways[0], 'FROM');
}

/** Fields of the packet; those that are not given have their default. */
function readFields(args: Args) {
  const protocol = args.value('protocol', readProtocol);
  if (args.has('tcp-flags') && (protocol ?? PROTOCOL_TCP) !== PROTOCOL_TCP)
    throw usageError('--tcp-flags needs --protocol tcp');
  const src = args.value('src', readEnd);
  if (src !== undefined && src.kind !== 'ip') throw usageError(`--src ${args.text('src')}: expected an IPv4 address`);
  return {
    protocol,
    flags: args.value('tcp-flags', readFlags),
    srcPort: args.value('src-port', portNumber),
    ttl: args.value('ttl', wholeNumber(1, 64, 'a time to live')),
    payloadBytes: args.value('length', wholeNumber(0, MAX_PAYLOAD, 'bytes')),
    src: src?.name,
  };
}

/** A frame that was given; `captured`: of a file. */
interface GivenFrame {
  readonly bytes: Uint8Array;
  readonly captured?: CapturedFrame;
}

const placeOf = (resolver: Resolver, { bytes, captured }: GivenFrame): Place =>
  captured === undefined ? resolver.placeOfFrame(bytes) : resolver.placeOfCaptured(captured);

/** The frame of --hex or --pcap. */
function readFrame(args: Args): GivenFrame | undefined {
  const hex = args.value('hex', readHex);
  const file = args.text('pcap');
  if (hex !== undefined && file !== undefined)
    throw usageError('--hex and --pcap cannot be used together', 'give one of them');
  const number = args.value('frame', wholeNumber(1, 1_000_000_000, 'the number of a frame'));
  if (number !== undefined && file === undefined) throw usageError('--frame needs --pcap');
  const captured = file === undefined ? undefined : frameOf(file, number ?? 1);
  const bytes = captured?.bytes ?? hex;
  if (bytes === undefined) return undefined;
  if (bytes.length >= MIN_FRAME_BYTES && bytes.length <= MAX_FRAME_BYTES)
    return { bytes, ...(captured && { captured }) };
  const expected = `expected an Ethernet frame of ${MIN_FRAME_BYTES} to ${MAX_FRAME_BYTES}`;
  throw usageError(`the frame has ${bytes.length} bytes`, expected);
}

function frameOf(file: string, number: number): CapturedFrame {
  const reader = new CaptureReader();
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw failed(`${file} cannot be read: ${(error as Error).message}`);
  }
  reader.push(bytes);
  let count = 0;
  for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
    if (++count < number) continue;
    if (frame.bytes.length < frame.originalBytes) {
      throw failed(`${file}: frame ${number} was truncated by the capture`, 'capture whole frames (tcpdump -s 0)');
    }
    return frame;
  }
  reader.end();
  const why = reader.damage === '' ? '' : `, then: ${reader.damage}`;
  throw failed(`${file} has ${count} frames${why}`, 'see --frame');
}

async function show(walk: Walk, format: string | undefined): Promise<void> {
  if (format === 'json') return print(JSON.stringify(walk.traces, null, 2));
  const { traceDiagram, traceLines } = await import('../../observe/trace/print.ts');
  if (format === 'mermaid') return print(traceDiagram(walk));
  showLines(traceLines(walk));
}

function showLines(all: readonly import('../../observe/trace/print.ts').Line[]): void {
  const terminal = terminalOf();
  const columns = Math.min(terminal?.columns ?? MAX_COLUMNS, MAX_COLUMNS);
  for (const { indent, text, kind } of all) {
    const colour = kind === 'good' ? 'green' : kind === 'bad' ? 'red' : undefined;
    const lines = text === '' ? [''] : wrap(text, columns - indent);
    for (const line of lines) print(`${' '.repeat(indent)}${terminal?.colour ? paint(colour, line) : line}`.trimEnd());
  }
}
