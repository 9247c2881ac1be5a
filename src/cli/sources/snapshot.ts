/** Takes snapshots of the nodes of this machine, and begins the recording that goes with them. */
import { MAX_CAPTURED_BYTES } from '../../../native-free-dataplane/capture/frame.ts';
import { attachCaptureMemory, Point } from '../../../native-free-dataplane/live-capture/memory.ts';
import { DEFAULT_CLUSTER_OPTIONS } from '../../api/cluster-options.ts';
import { readClusterFile } from '../../cluster/state.ts';
import { openShared } from '../../linux/shm.ts';
import { readSnapshotObjects, type SnapshotObjects } from '../../observe/replay/objects.ts';
import type { NodeSnapshot } from '../../observe/replay/snapshot-file.ts';
import { SnapshotFailed, takeSnapshot } from '../../observe/replay/take-snapshot.ts';
import { Names } from '../../observe/trace/names.ts';
import { memoryName } from '../../shm-names.ts';
import { attachControl, ControlWord, controlAt, ThreadState } from '../../worker/control.ts';
import { failed } from '../errors.ts';
import { note } from '../output/output.ts';
import { withClient } from '../with-client.ts';
import { Capture, captureNodes, readNames } from './capture.ts';
import { readFeatures } from './trace.ts';

/** A worker in one of these states does not touch the tables. */
const IDLE: ReadonlySet<number> = new Set([
  ThreadState.ABSENT,
  ThreadState.SLEEPING,
  ThreadState.CRASHED,
  ThreadState.STOPPED,
]);

export interface Taken {
  readonly nodes: readonly NodeSnapshot[];
  /** The recording, which has begun with the snapshots; undefined if none was asked for. */
  readonly capture: Capture | undefined;
}

/** What the tables are compiled from; undefined, with a note, if the API does not respond. */
export async function readObjects(): Promise<SnapshotObjects | undefined> {
  const { dns = DEFAULT_CLUSTER_OPTIONS.dns } = readClusterFile()?.options ?? {};
  try {
    return await withClient((client) => readSnapshotObjects(client, dns === 'agent'));
  } catch (error) {
    note(`without the objects of the API: ${(error as Error).message}`);
    return undefined;
  }
}

/**
 * @param node only this one
 * @param isRecorded begin a recording with the snapshots
 * @param objects what readObjects returned: ports have their names from them
 * @throws CliError
 */
export async function takeSnapshots(
  node: string | undefined,
  isRecorded: boolean,
  objects: SnapshotObjects | undefined,
): Promise<Taken> {
  if (!isRecorded) {
    const nothing = (): void => {};
    return { nodes: captureNodes(node).map((name) => snapshotOf(name, nothing, nothing)), capture: undefined };
  }
  const taken: NodeSnapshot[] = [];
  const request = {
    node,
    pod: undefined,
    points: Point.RECEIVED | Point.SENT | Point.REPLAY,
    snapBytes: MAX_CAPTURED_BYTES,
    filter: '',
    startNode: (name: string, begin: () => void, abandon: () => void) => {
      taken.push(snapshotOf(name, begin, abandon));
    },
  };
  const names = objects === undefined ? await readNames() : new Names(objects);
  return { capture: new Capture(request, names), nodes: taken };
}

function snapshotOf(node: string, begin: () => void, abandon: () => void): NodeSnapshot {
  const capture = openShared(memoryName(node, 'capture'));
  const control = openShared(memoryName(node, 'control'));
  try {
    const memory = attachCaptureMemory(capture.buffer);
    const words = attachControl(control.buffer);
    if (memory === undefined || words === undefined) throw failed(`node ${node} runs another version of dataplane`);
    const isIdle = (worker: number): boolean => IDLE.has(Atomics.load(words, controlAt(worker, ControlWord.STATE)));
    return takeSnapshot({ node, features: readFeatures(node), memory, isIdle, begin, abandon });
  } catch (error) {
    if (error instanceof SnapshotFailed) throw failed(error.message, 'try again while the machine is less busy');
    throw error;
  } finally {
    capture.close();
    control.close();
  }
}
