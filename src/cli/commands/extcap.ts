/**
 * `dataplane extcap`: captures for Wireshark's own window, by its interface for external programs (extcap(4)). A program
 * in Wireshark's extcap folder calls it: docs/capture.md.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { MAX_CAPTURED_BYTES } from '../../../native-free-dataplane/capture/frame.ts';
import { Point } from '../../../native-free-dataplane/live-capture/memory.ts';
import { NodePorts } from '../../observe/capture/ports.ts';
import type { Names } from '../../observe/trace/names.ts';
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import { endOnSignals } from '../args/capture-args.ts';
import { oneOf, wholeNumber } from '../args/values.ts';
import { failed, needRoot, usageError } from '../errors.ts';
import { note, print } from '../output/output.ts';
import { readVersion } from '../version.ts';
import { recording } from './capture.ts';

/** The interface of all nodes; those of one node and of one pod have its name behind a colon. */
const ALL = 'dataplane';

/** Choices of the option `points`. */
const CHOICES = {
  all: Point.RECEIVED | Point.SENT,
  received: Point.RECEIVED,
  sent: Point.SENT,
  dropped: Point.DROPPED,
};
const CHOICE_TEXTS: Readonly<Record<keyof typeof CHOICES, string>> = {
  all: 'Received and sent',
  received: 'Received',
  sent: 'Sent, after translation and encapsulation',
  dropped: 'Only packets that are dropped',
};

export const command: Command = {
  usage: [
    'extcap --extcap-interfaces',
    'extcap --extcap-interface NAME --extcap-dlts|--extcap-config',
    'extcap --extcap-interface NAME --extcap-capture-filter FILTER',
    'extcap --extcap-interface NAME --capture --fifo FILE [--extcap-capture-filter FILTER] [--snaplen N] [--points P]',
  ],
  about: `Lets Wireshark capture on nodes and pods from its own window (its extcap interface). Install a program of two lines that calls
this command in ~/.local/lib/wireshark/extcap: see docs/capture.md. Without a capture, --extcap-capture-filter checks the filter.`,
  options: {
    'extcap-interfaces': { help: 'list the interfaces' },
    'extcap-interface': { value: 'NAME', help: `${ALL}, ${ALL}:NODE or ${ALL}:NODE/NAMESPACE/POD` },
    'extcap-dlts': { help: 'list the link types of the interface' },
    'extcap-config': { help: 'list the options of the interface' },
    'extcap-capture-filter': { value: 'FILTER', help: 'an expression of tcpdump' },
    'extcap-version': { value: 'VERSION', help: "Wireshark's version" },
    capture: { help: 'capture' },
    fifo: { value: 'FILE', help: 'write pcapng to this file' },
    snaplen: { value: 'BYTES', help: 'bytes of each frame to keep (default: all)' },
    points: { value: 'POINTS', help: 'all, received, sent or dropped (default: all)' },
    help: { short: 'h', help: 'show this help' },
  },
  run,
};

async function run(args: Args): Promise<void> {
  try {
    await answer(args);
  } catch (error) {
    const fifo = args.text('fifo');
    if (fifo !== undefined) releaseReader(fifo);
    throw error;
  }
}

/** Wireshark and tshark wait until the fifo has been opened and closed, also when nothing is written into it. */
function releaseReader(fifo: string): void {
  try {
    closeSync(openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK));
  } catch {
    // Nobody waits.
  }
}

async function answer(args: Args): Promise<void> {
  operandsAtMost('extcap', args, 0);
  if (args.flag('extcap-interfaces')) return listInterfaces();
  const name = args.text('extcap-interface');
  if (name === undefined)
    throw usageError('dataplane extcap: --extcap-interface is missing', 'see `dataplane extcap --help`');
  const place = readInterface(name);
  if (args.flag('extcap-dlts')) return print('dlt {number=1}{name=EN10MB}{display=Ethernet}');
  if (args.flag('extcap-config')) return listOptions();
  const filter = args.text('extcap-capture-filter') ?? '';
  const source = await import('../sources/capture.ts');
  source.checkFilter(filter);
  if (!args.flag('capture')) {
    if (args.has('extcap-capture-filter')) return;
    throw usageError('dataplane extcap: nothing to do', 'add --capture, --extcap-dlts or --extcap-config');
  }
  const path = args.text('fifo');
  if (path === undefined) throw usageError('dataplane extcap: --capture needs --fifo');
  const snapBytes = args.value('snaplen', wholeNumber(1, MAX_CAPTURED_BYTES, 'bytes')) ?? MAX_CAPTURED_BYTES;
  const points = CHOICES[args.value('points', oneOf('all', 'received', 'sent', 'dropped')) ?? 'all'];
  needRoot('extcap');
  const names = await source.readNames();
  const capture = new source.Capture({ ...place, points, snapBytes, filter }, names);
  try {
    const ended = endOnSignals();
    const sink = await recording({ path, ring: undefined, snapBytes, filter }, capture);
    sink.end(await capture.run(sink, ended, Number.POSITIVE_INFINITY));
  } finally {
    capture.close();
  }
}

/** `dataplane:n1/default/mc3` → node and pod. @throws CliError */
function readInterface(name: string): { node: string | undefined; pod: string | undefined } {
  const [prefix, place, more] = name.split(':');
  const [node, namespace, pod, rest] = place?.split('/') ?? [];
  const complete = namespace === undefined || (namespace !== '' && pod !== undefined && pod !== '');
  if (prefix === ALL && more === undefined && rest === undefined && node !== '' && complete) {
    return { node, pod: namespace === undefined ? undefined : `${namespace}/${pod}` };
  }
  throw failed(`there is no interface "${name}"`, 'see `dataplane extcap --extcap-interfaces`');
}

async function listInterfaces(): Promise<void> {
  const source = await import('../sources/capture.ts');
  print(`extcap {version=${readVersion()}}{help=https://www.wireshark.org/docs/man-pages/extcap.html}`);
  print(`interface {value=${ALL}}{display=dataplane: all nodes}`);
  let nodes: string[];
  try {
    nodes = source.captureNodes(undefined);
  } catch {
    // No cluster is up. Wireshark shows the interface all the same; a capture on it fails with the reason.
    return;
  }
  const names = await source.readNames();
  for (const node of nodes) {
    print(`interface {value=${ALL}:${node}}{display=dataplane: node ${node}}`);
    for (const pod of podsOf(node, names)) {
      print(`interface {value=${ALL}:${node}/${pod}}{display=dataplane: pod ${pod} on ${node}}`);
    }
  }
}

/** The pods with a port on the node, as NAMESPACE/NAME, sorted. */
function podsOf(node: string, names: Names): string[] {
  let ports: NodePorts;
  try {
    ports = new NodePorts(node);
  } catch (error) {
    note((error as Error).message);
    return [];
  }
  try {
    return ports.pods(names).sort();
  } finally {
    ports.close();
  }
}

function listOptions(): void {
  print(
    `arg {number=0}{call=--snaplen}{display=Bytes of each frame}{type=integer}{range=1,${MAX_CAPTURED_BYTES}}{default=${MAX_CAPTURED_BYTES}}`,
  );
  print('arg {number=1}{call=--points}{display=Where to capture}{type=selector}');
  for (const [value, text] of Object.entries(CHOICE_TEXTS)) {
    print(`value {arg=1}{value=${value}}{display=${text}}{default=${value === 'all'}}`);
  }
}
