/** `dataplane snapshot`: the tables of running nodes as a file, and the frames from then on. */
import { writeFileSync } from 'node:fs';
import { MAX_CAPTURED_BYTES } from '../../../native-free-dataplane/capture/frame.ts';
import { type Args, type Command, needOperand, operandsAtMost } from '../args/args.ts';
import { endOnSignals } from '../args/capture-args.ts';
import { dnsLabel, seconds, wholeNumber } from '../args/values.ts';
import { failed, needRoot, usageError } from '../errors.ts';
import { note } from '../output/output.ts';
import { readVersion } from '../version.ts';

export const command: Command = {
  usage: ['snapshot FILE [--node NODE]', 'snapshot FILE --capture CAPTURE [--duration TIME] [-c N] [--node NODE]'],
  about: `Write the tables of the running nodes to a file: configuration, Services, policies, connections; and the API’s objects from which
they were made. The workers of a node pause for some milliseconds while its tables are copied. With --capture, all frames from
that moment on are recorded as pcapng, until Ctrl-C:
\`dataplane replay FILE CAPTURE\` does the same with them again, on any machine.`,
  options: {
    capture: { value: 'CAPTURE', help: 'record frames from the moment of the snapshot on' },
    duration: { value: 'TIME', help: 'end the recording after this time, such as 30s or 5m' },
    count: { short: 'c', value: 'N', help: 'end the recording after so many frames' },
    node: { value: 'NODE', help: 'only this node (default: all nodes of this machine)' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: [
    'dataplane snapshot n1.snapshot --node n1',
    'dataplane snapshot bug.snapshot --capture bug.pcapng --duration 60s',
  ],
  run,
};

async function run(args: Args): Promise<void> {
  const file = needOperand('snapshot', args, 0, 'FILE');
  operandsAtMost('snapshot', args, 1);
  const path = args.text('capture');
  for (const name of ['duration', 'count'] as const) {
    if (args.has(name) && path === undefined) throw usageError(`--${name} needs --capture`);
  }
  const node = args.value('node', dnsLabel);
  const duration = args.value('duration', seconds);
  const count = args.value('count', wholeNumber(1, Number.MAX_SAFE_INTEGER, 'frames')) ?? Number.POSITIVE_INFINITY;
  needRoot('snapshot');
  const [{ readObjects, takeSnapshots }, { encodeSnapshot }, { recording }] = await Promise.all([
    import('../sources/snapshot.ts'),
    import('../../observe/replay/snapshot-file.ts'),
    import('./capture.ts'),
  ]);
  const objects = await readObjects();
  const { nodes, capture } = await takeSnapshots(node, path !== undefined, objects);
  try {
    const bytes = encodeSnapshot({ version: readVersion(), nodes, ...(objects && { objects }) });
    try {
      writeFileSync(file, bytes, { mode: 0o600 });
    } catch (error) {
      throw failed(`${file} cannot be written: ${(error as Error).message}`);
    }
    note(`${file}: ${nodes.map((one) => one.node).join(', ')}, ${bytes.length} bytes`);
    if (capture === undefined || path === undefined) return;
    const request = { path, ring: undefined, snapBytes: MAX_CAPTURED_BYTES, filter: '', replayed: true };
    const sink = await recording(request, capture);
    note('recording frames; Ctrl-C ends');
    const result = await capture.run(sink, endOnSignals(duration), count);
    sink.end(result);
    note(`${result.captured} frames recorded, ${result.lost} lost`);
  } finally {
    capture?.close();
  }
}
