/** Waits until nodes and applied objects are Ready, and names those that are not after the timeout. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiClient } from '../api/client/client.ts';
import type { Kind, KubeObject, Manifest } from '../api/types/objects.ts';
import { ClusterError } from './errors.ts';
import { explainPods } from './explain-pods.ts';
import { lastLine } from './last-lines.ts';
import { type JobReadiness, whyNotReady } from './readiness.ts';
import type { ClusterNode } from './state.ts';
import { makesPods } from './workload-kinds.ts';

/**
 * Between two looks at one object; with many objects they are looked at less often, because each is a request to a
 * controller that is busy with them.
 */
const LOOK_MS = 25;
const MAX_LOOK_MS = 200;
/**
 * How long everything must stay Ready: a container that exits right after its start is Ready for a moment. On a busy machine
 * its end takes longer to arrive, as answers do: so many times as long as these.
 */
const STEADY_MS = 250;
const STEADY_LOOKS = 12;

export interface WaitOptions {
  /** Unix time in milliseconds. */
  deadline: number;
  timeoutSeconds: number;
  signal: AbortSignal;
  onProgress: (text: string) => void;
  /** Default: running. */
  jobs?: JobReadiness | undefined;
}

/** @throws ClusterError NOT_READY that names what is not Ready at the deadline */
export async function waitUntilReady(
  client: ApiClient,
  nodes: readonly ClusterNode[],
  applied: readonly Manifest<KubeObject>[],
  { deadline, timeoutSeconds, signal, onProgress, jobs }: WaitOptions,
): Promise<void> {
  const wanted = [
    ...nodes.map(({ name }) => ({ kind: 'Node' as Kind, name, namespace: undefined })),
    ...applied.map(({ kind, metadata }) => ({
      kind: kind as Kind,
      name: metadata.name!,
      namespace: metadata.namespace,
    })),
  ];
  let waiting = wanted.map((one) => ({ ...one, why: '' }));
  const pods = wanted.length > nodes.length;
  let checkedAgain = !pods;
  for (;;) {
    const began = performance.now();
    const looked = await Promise.all(
      waiting.map(async (one) => {
        const object = (await client.find(one.kind, one.name, one.namespace)) as KubeObject | undefined;
        return { ...one, why: object === undefined ? 'it no longer exists' : whyNotReady(object, lastLine, jobs) };
      }),
    );
    waiting = looked.filter((one): one is typeof one & { why: string } => one.why !== undefined);
    signal.throwIfAborted();
    if (waiting.length === 0) {
      if (checkedAgain) return;
      checkedAgain = true;
      waiting = wanted.map((one) => ({ ...one, why: '' }));
      await sleep(Math.max(STEADY_MS, STEADY_LOOKS * (performance.now() - began)));
      continue;
    }
    checkedAgain = !pods;
    const reasons = waiting.map(({ kind, name, why }) => `${kind} ${name} (${why})`);
    if (Date.now() > deadline) {
      const details = await explainWorkloads(client, waiting).catch(() => []);
      throw new ClusterError(
        'NOT_READY',
        `not Ready after ${timeoutSeconds} s: ${reasons.join(', ')}`,
        undefined,
        details,
      );
    }
    onProgress(`waiting for ${reasons.length === 1 ? reasons[0] : `${reasons.length} objects, ${reasons[0]}`}…`);
    await sleep(Math.min(LOOK_MS * waiting.length, MAX_LOOK_MS));
  }
}

/** Adds the pods' reasons to a workload, whose own reason is only the number of ready pods. */
async function explainWorkloads(
  client: ApiClient,
  waiting: readonly { kind: Kind; name: string; namespace: string | undefined }[],
): Promise<string[]> {
  const lines: string[] = [];
  for (const { kind, name, namespace } of waiting) {
    if (kind === 'Pod' || !makesPods(kind)) continue;
    const workload = await client.find(kind, name, namespace);
    if (workload !== undefined) lines.push(...(await explainPods(client, workload as KubeObject)));
  }
  return lines;
}
