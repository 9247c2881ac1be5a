/** `dataplane capture`: frames of running nodes, as lines or as a pcapng file. */
import { MAX_CAPTURED_BYTES } from '../../../native-free-dataplane/capture/frame.ts';
import { Point } from '../../../native-free-dataplane/live-capture/memory.ts';
import type { FileRing } from '../../observe/capture/recording.ts';
import type { Args, Command } from '../args/args.ts';
import { endOnSignals, filterText, readCapturedPod, readCapturedService } from '../args/capture-args.ts';
import { dnsLabel, seconds, wholeNumber } from '../args/values.ts';
import { needRoot, usageError } from '../errors.ts';
import { note, print } from '../output/output.ts';
import type { CaptureResult, CaptureSink } from '../sources/capture.ts';
import { readVersion } from '../version.ts';
import { NAMESPACE_OPTION } from '../with-client.ts';

const POINTS: Readonly<Record<string, number>> = {
  received: Point.RECEIVED,
  sent: Point.SENT,
  dropped: Point.DROPPED,
};
const MEGABYTE = 1_000_000;

export const command: Command = {
  usage: ['capture [received] [sent] [dropped] [OPTIONS] [FILTER]'],
  about: `Capture frames on the nodes of this machine: as received from a port and as sent to a port, after translation and
encapsulation (default: both), or only those of packets that were dropped. FILTER is an expression of tcpdump (pcap-filter(7)); it
is also applied to the frame inside VXLAN. The nodes evaluate it before anything is copied, and a packet that matches as received is
captured where it is sent too. Without -w, prints one line per frame: port, worker and number of the packet, contents, verdict.`,
  options: {
    write: { short: 'w', value: 'FILE', help: 'write pcapng to a file, or to standard output (-)' },
    node: { value: 'NODE', help: 'only on this node (default: all nodes of this machine)' },
    pod: { value: 'POD', help: "only at this pod's port: its name, or its address" },
    service: { value: 'SERVICE', help: 'only packets of this Service: at its addresses, and at its endpoints' },
    ...NAMESPACE_OPTION,
    snaplen: { short: 's', value: 'BYTES', help: 'bytes of each frame to keep (default: all)' },
    count: { short: 'c', value: 'N', help: 'end after so many frames' },
    duration: { value: 'TIME', help: 'end after this time, such as 30s or 5m' },
    drops: { help: 'only packets that did not reach their destination (the same as the point dropped)' },
    steps: {
      help: "with -w: each packet's steps through the pipeline as comments, with source lines; at most 200 a second",
    },
    ring: { value: 'FILES:MB', help: 'with -w: start a new file every MB megabytes, and keep the last FILES' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: [
    'dataplane capture tcp port 80',
    'dataplane capture --drops',
    'dataplane capture --service mc3',
    "dataplane capture --pod mc3 -w - 'tcp[tcpflags] & tcp-rst != 0' | wireshark -k -i -",
    'dataplane capture -w trace.pcapng --ring 5:100 --snaplen 128',
  ],
  run,
};

function readPoints(args: Args): { points: number; filter: string } {
  let points = args.flag('drops') ? Point.DROPPED : 0;
  let at = 0;
  for (; at < args.operands.length; at++) {
    const bit = POINTS[args.operands[at] as string];
    if (bit === undefined) break;
    points |= bit;
  }
  return { points: points || Point.RECEIVED | Point.SENT, filter: filterText(args, at) };
}

function readRing(text: string, option: string): FileRing {
  const [files = 0, megabytes = 0] = (/^(\d{1,4}):(\d{1,6})$/.exec(text)?.slice(1) ?? []).map(Number);
  if (files >= 2 && megabytes >= 1) return { files, bytes: megabytes * MEGABYTE };
  throw usageError(`${option} ${text}: expected at least two files and their size in megabytes, such as 5:100`);
}

async function run(args: Args): Promise<void> {
  const { points: where, filter: own } = readPoints(args);
  const path = args.text('write');
  if (args.flag('steps') && path === undefined)
    throw usageError('--steps needs -w', '`dataplane trace --live` prints steps');
  const points = args.flag('steps') ? where | Point.STEPS : where;
  const ring = args.value('ring', readRing);
  if (ring !== undefined && (path === undefined || path === '-')) throw usageError('--ring needs -w with a file');
  const node = args.value('node', dnsLabel);
  const pod = readCapturedPod(args);
  const service = readCapturedService(args);
  const snapBytes =
    args.value('snaplen', wholeNumber(1, MAX_CAPTURED_BYTES, 'bytes', 'leave it out to keep whole frames')) ??
    MAX_CAPTURED_BYTES;
  const count = args.value('count', wholeNumber(1, Number.MAX_SAFE_INTEGER, 'frames')) ?? Number.POSITIVE_INFINITY;
  const duration = args.value('duration', seconds);
  const source = await import('../sources/capture.ts');
  source.checkFilter(own);
  needRoot('capture');

  const filter = service === undefined ? own : await source.filterOfService(service, own);
  const names = await source.readNames();
  const capture = new source.Capture({ node, pod, points, snapBytes, filter }, names);
  try {
    const ended = endOnSignals(duration);
    const sink = path === undefined ? await lines(ended) : await recording({ path, ring, snapBytes, filter }, capture);
    note(`capturing on ${capture.places.join(', ')}; Ctrl-C ends`);
    const result = await capture.run(sink, ended, count);
    sink.end(result);
    note(summary(result));
  } finally {
    capture.close();
  }
}

export interface EndingSink extends CaptureSink {
  end(result: CaptureResult): void;
}

async function lines(ended: AbortController): Promise<EndingSink> {
  const { packetLine } = await import('../../observe/capture/line.ts');
  // The reader of the pipe has ended (`| head`).
  process.stdout.on('error', () => ended.abort());
  return {
    note,
    packets: (packets, portOf) => {
      print(packets.map((packet) => packetLine(packet, portOf(packet))).join('\n'));
    },
    end: () => undefined,
  };
}

export interface RecordingRequest {
  readonly path: string;
  readonly ring: FileRing | undefined;
  readonly snapBytes: number;
  readonly filter: string;
  readonly replayed?: boolean;
}

/** A sink that writes pcapng. */
export async function recording(
  request: RecordingRequest,
  { nodes, names }: { nodes: readonly string[]; names: import('../../observe/trace/names.ts').Names },
): Promise<EndingSink> {
  const [{ Recording }, { OutputClosed }] = await Promise.all([
    import('../../observe/capture/recording.ts'),
    import('../../observe/capture/output-file.ts'),
  ]);
  const file = new Recording({ ...request, nodes, version: readVersion() }, names);
  return {
    note,
    packets: (packets, portOf, known) => {
      file.write(packets, portOf, known);
    },
    end: ({ lostAt }) => {
      try {
        file.close(lostAt);
      } catch (error) {
        if (!(error instanceof OutputClosed)) throw error;
      }
    },
  };
}

function summary({ captured, lost }: CaptureResult): string {
  const frames = `${captured} ${captured === 1 ? 'frame' : 'frames'} captured`;
  return `${frames}, ${lost} lost${lost > 0 ? ' because they came faster than they could be read: see --snaplen' : ''}`;
}
