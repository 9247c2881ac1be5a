/** `dataplane replay`: recorded frames through the pipeline over the tables of a snapshot. Needs no root and no cluster. */
import { createReadStream, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Other, PacketOutcome, ReplayReport } from '../../observe/replay/compare.ts';
import type { Recording } from '../../observe/replay/recording.ts';
import type { PipelineBuild } from '../../observe/replay/replay.ts';
import type { Snapshot } from '../../observe/replay/snapshot-file.ts';
import { importFile } from '../../start/import-file.ts';
import type { ClusterObjects } from '../../ui/applied-objects.ts';
import { type Args, type Command, needOperand, operandsAtMost } from '../args/args.ts';
import { failed, SilentExit, usageError } from '../errors.ts';
import { formatOf, note, print } from '../output/output.ts';
import type { Reasons } from '../replay/report.ts';
import { NAMESPACE_OPTION, namespaceOf } from '../with-client.ts';

export const command: Command = {
  usage: [
    'replay SNAPSHOT CAPTURE [--diff DIST | --diff MANIFESTS [--delete] [-n NAMESPACE]] [-o json]',
    'replay SNAPSHOT CAPTURE --outcomes | --to-test FILE',
    'replay CAPTURE --tables SNAPSHOT [OPTIONS]',
    'replay SNAPSHOT [-o json]',
  ],
  about: `Run the frames of a capture through the forwarding pipeline over the tables of a snapshot (\`dataplane snapshot\`), and compare
verdicts and frames with what the node did: of a recording that began with the snapshot they are the same, bit for bit. Frames of
other captures are taken as received at the pod with their source address. Without CAPTURE: what the snapshot contains. Exits
with 1 if something differs.
--diff compares with another build, or shows what would have become of the same frames had manifests been applied at the moment of
the snapshot: connection by connection, with the reason. Policies, Services, labels of pods and namespaces count.
--to-test writes a test for \`node --test\` that contains both files and what came out, packet by packet, in lines that can be changed
to what should have happened.`,
  options: {
    tables: { value: 'SNAPSHOT', help: 'the snapshot, in place of the first operand' },
    diff: {
      value: 'WHAT',
      help: 'compare with another build (such as another checkout’s dist) or with manifests (a file or directory) in force',
    },
    delete: { help: 'the manifests’ objects are deleted, not applied' },
    ...NAMESPACE_OPTION,
    outcomes: { help: 'print what became of each packet, one a line' },
    'to-test': { value: 'FILE', help: 'write a test with these files and their outcomes' },
    output: { short: 'o', value: 'FORMAT', help: 'json' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: [
    'dataplane replay bug.snapshot bug.pcapng',
    'dataplane replay bug.snapshot bug.pcapng --diff ../fixed/dist',
    'dataplane replay bug.snapshot bug.pcapng --diff policy.yaml',
    'dataplane replay bug.snapshot bug.pcapng --to-test bug.test.mjs',
  ],
  run,
};

async function run(args: Args): Promise<void> {
  const { file, capture } = readFiles(args);
  const json = formatOf(args.text('output'), ['json']) === 'json';
  const snapshot = await readSnapshot(file);
  const perPacket = readPerPacket(args, capture, json);
  if (capture === undefined) return printContents(snapshot, json);
  const recording = await readRecording(capture);
  if (recording.damage !== '') {
    if (recording.packets.length === 0) throw failed(`${capture} cannot be read: ${recording.damage}`);
    note(`${capture}: ${recording.damage}`);
  }
  if (recording.lost > 0)
    note(`${recording.lost} frames were lost when they were recorded: what depends on them differs`);
  if (recording.truncated > 0) note(`${recording.truncated} frames are left out: the capture has truncated them`);
  const [{ replay }, own] = await Promise.all([
    import('../../observe/replay/compare.ts'),
    import('../../../native-free-dataplane/public.ts'),
  ]);
  const diff = args.text('diff');
  const other = diff === undefined ? undefined : await otherOf(diff, args, snapshot, own);
  const outcomes: PacketOutcome[] = [];
  const onOutcome = perPacket === undefined ? undefined : (outcome: PacketOutcome) => void outcomes.push(outcome);
  let report: ReplayReport;
  let reasons: Reasons | undefined;
  try {
    report = replay(snapshot, recording, own, other, onOutcome);
    if (other?.objects !== undefined)
      reasons = await whyTheyDiffer(snapshot, recording, [own, other], other.objects, report);
  } catch (error) {
    throw failed(
      `${file} cannot be replayed: ${(error as Error).message}`,
      `it was taken by version ${snapshot.version}`,
    );
  }
  if (perPacket !== undefined) return showOutcomes(perPacket, [file, capture], outcomes);
  const { reportJson, reportText } = await import('../replay/report.ts');
  if (json) print(reportJson(report, reasons));
  else print(reportText(report, diff, reasons));
  if (report.different > 0) throw new SilentExit(1);
}

/** `SNAPSHOT [CAPTURE]`, or `CAPTURE --tables SNAPSHOT`. */
function readFiles(args: Args): { file: string; capture: string | undefined } {
  const tables = args.text('tables');
  if (tables !== undefined) {
    operandsAtMost('replay', args, 1);
    return { file: tables, capture: needOperand('replay', args, 0, 'CAPTURE') };
  }
  operandsAtMost('replay', args, 2);
  return { file: needOperand('replay', args, 0, 'SNAPSHOT'), capture: args.operands[1] };
}

/** `--outcomes` or `--to-test FILE`. */
type PerPacket = { readonly testFile: string | undefined };

function readPerPacket(args: Args, capture: string | undefined, json: boolean): PerPacket | undefined {
  const testFile = args.text('to-test');
  const option = testFile === undefined ? '--outcomes' : '--to-test';
  if (testFile === undefined && !args.flag('outcomes')) return undefined;
  if (capture === undefined) throw usageError(`${option} needs CAPTURE`);
  const other = json ? '-o json' : args.has('diff') ? '--diff' : undefined;
  const both = testFile !== undefined && args.flag('outcomes');
  if (other !== undefined || both) throw usageError(`${option} cannot be used with ${other ?? '--outcomes'}`);
  return { testFile };
}

/** Larger files would make a test that nobody can keep. */
const MAX_TEST_BYTES = 8_000_000;

async function showOutcomes(
  { testFile }: PerPacket,
  files: readonly [snapshot: string, capture: string],
  outcomes: readonly PacketOutcome[],
): Promise<void> {
  const [{ outcomeLine, testSource }, { readVersion }] = await Promise.all([
    import('../../observe/replay/to-test.ts'),
    import('../version.ts'),
  ]);
  if (testFile === undefined) return print(outcomes.map(outcomeLine).join('\n'));
  const [snapshot, capture] = files.map((path) => readFileSync(path)) as [Buffer, Buffer];
  const bytes = snapshot.length + capture.length;
  if (bytes > MAX_TEST_BYTES) {
    throw failed(`the files have ${bytes} bytes: expected at most ${MAX_TEST_BYTES} for a test`, 'record fewer frames');
  }
  const title = `${basename(files[1])}: what becomes of each packet`;
  const source = testSource({ title, version: readVersion(), snapshot, capture, outcomes });
  try {
    // It contains addresses and contents of packets, as its files do.
    writeFileSync(testFile, source, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw failed(`${testFile} cannot be written: ${message}`, code === 'EEXIST' ? 'give a new file' : undefined);
  }
  note(`${testFile}: ${outcomes.length} packets; run it with \`node --test ${testFile}\``);
}

async function readSnapshot(file: string): Promise<Snapshot> {
  const { decodeSnapshot, SnapshotError } = await import('../../observe/replay/snapshot-file.ts');
  try {
    return decodeSnapshot(readFileSync(file));
  } catch (error) {
    const hint = error instanceof SnapshotError ? 'give a file that `dataplane snapshot` wrote' : undefined;
    throw failed(`${file} cannot be read: ${(error as Error).message}`, hint);
  }
}

async function readRecording(file: string): Promise<Recording> {
  const { RecordingReader } = await import('../../observe/replay/recording.ts');
  const reader = new RecordingReader();
  try {
    for await (const chunk of createReadStream(file)) reader.push(chunk as Buffer);
  } catch (error) {
    throw failed(`${file} cannot be read: ${(error as Error).message}`);
  }
  return reader.end();
}

/** What is compared with; with the objects that would be in force, if it is manifests. */
type Compared = Other & { readonly objects?: ClusterObjects };

/** Another build, or the snapshot's tables with manifests in force. */
async function otherOf(what: string, args: Args, snapshot: Snapshot, own: PipelineBuild): Promise<Compared> {
  const build = [join(what, 'bundle/pipeline.js'), join(what, 'dist/bundle/pipeline.js')].find((one) =>
    existsSync(one),
  );
  if (build !== undefined) {
    if (args.flag('delete')) throw usageError('--delete needs manifests', `${what} is a build`);
    return { build: (await importFile(pathToFileURL(resolve(build)).href)) as PipelineBuild };
  }
  const { withManifests } = await import('../replay/manifests.ts');
  const options = { namespace: namespaceOf(args), remove: args.flag('delete') };
  return { build: own, ...withManifests(what, snapshot, options) };
}

async function whyTheyDiffer(
  snapshot: Snapshot,
  recording: Recording,
  builds: readonly [own: PipelineBuild, other: Other],
  objects: ClusterObjects,
  { connections }: ReplayReport,
): Promise<Reasons> {
  const [{ reasonsOf }, { processTraced }, { Names }] = await Promise.all([
    import('../../observe/replay/reasons.ts'),
    import('../../../native-free-dataplane/trace/traced.ts'),
    import('../../observe/trace/names.ts'),
  ]);
  const names = new Names(snapshot.objects);
  const after = new Names({ nodes: snapshot.objects?.nodes ?? [], ...objects });
  const traced = { process: processTraced, names: [names, after] as const };
  const found = reasonsOf(snapshot, recording, builds, connections, traced);
  return { of: ({ number }) => found.get(number), nameOf: (ip) => names.address(ip) };
}

function printContents({ version, nodes }: Snapshot, json: boolean): void {
  const contents = nodes.map(({ node, timeMs, features, tables }) => ({
    node,
    time: new Date(timeMs).toISOString(),
    ...features,
    bytes: Object.fromEntries(
      Object.entries(tables).map(([table, { extents }]) => [
        table,
        extents.reduce((sum, { bytes }) => sum + bytes.length, 0),
      ]),
    ),
  }));
  if (json) {
    print(JSON.stringify({ version, nodes: contents }, null, 2));
    return;
  }
  print(`Taken by dataplane ${version}`);
  for (const { node, time, bytes } of contents) {
    const tables = Object.entries(bytes).map(([table, size]) => `${table} ${Math.ceil(size / 1024)} KiB`);
    print(`Node ${node} at ${time}: ${tables.join(', ')}`);
  }
}
