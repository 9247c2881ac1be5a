/** Waits until nodes and applied objects are Ready, and says what is not when time is up. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiClient } from '../api/client/client.ts';
import type { Condition, Deployment, Kind, KubeObject, Manifest, NodeObject, Pod } from '../api/types/objects.ts';
import { failed } from './errors.ts';
import type { Progress } from './output/output.ts';
import { podReason } from './output/pod-text.ts';
import type { ClusterNode } from './state.ts';

const LOOK_MS = 25;
/** A container that ends as soon as it has started is Ready for a moment; one that lasts this long stays so. */
const STEADY_MS = 250;

export interface WaitOptions {
  /** Unix time in milliseconds. */
  deadline: number;
  timeoutSeconds: number;
  signal: AbortSignal;
  progress: Progress;
}

const isTrue = (conditions: readonly Condition[] | undefined, type: string): boolean =>
  conditions?.find((condition) => condition.type === type)?.status === 'True';

/** Why an object is not Ready; undefined when it is, or when its kind has nothing to wait for. */
export function whyNotReady(object: KubeObject): string | undefined {
  switch (object.kind) {
    case 'Node': {
      const { status } = object as NodeObject;
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      if (ready?.status === 'True') return undefined;
      return ready?.message ?? ready?.reason ?? 'its agent has not reported yet';
    }
    case 'Pod': {
      const pod = object as Pod;
      if (pod.status?.phase === 'Succeeded' || isTrue(pod.status?.conditions, 'Ready')) return undefined;
      return whyPodNotReady(pod);
    }
    case 'Deployment': {
      const { spec, status, metadata } = object as Deployment;
      const wanted = spec.replicas ?? 1;
      const current =
        status?.observedGeneration === undefined || status.observedGeneration >= (metadata.generation ?? 0);
      const ready = Math.min(status?.readyReplicas ?? 0, status?.updatedReplicas ?? 0);
      return current && ready >= wanted ? undefined : `${ready} of ${wanted} pods are ready`;
    }
    default:
      return undefined;
  }
}

/** The pod's STATUS and, where a container is the cause, what it said last. */
function whyPodNotReady(pod: Pod): string {
  const reason = podReason(pod);
  const { containerStatuses = [], initContainerStatuses = [], conditions } = pod.status ?? {};
  for (const { name, ready, state, lastState } of [...initContainerStatuses, ...containerStatuses]) {
    if (ready) continue;
    const ended = state?.terminated ?? lastState?.terminated;
    if (ended !== undefined && ended.reason !== 'Completed') {
      const said = ended.message?.trim().split('\n').at(-1);
      return `${reason}: container ${name} ended with status ${ended.exitCode}${said ? `: ${said}` : ''}`;
    }
    const { message } = state?.waiting ?? {};
    if (message) return `${reason}: container ${name}: ${message}`;
  }
  const scheduled = conditions?.find(({ type, status }) => type === 'PodScheduled' && status === 'False');
  return scheduled?.message ? `${reason}: ${scheduled.message}` : reason;
}

/** @throws CliError that names what is not Ready at the deadline */
export async function waitUntilReady(
  client: ApiClient,
  nodes: readonly ClusterNode[],
  applied: readonly Manifest<KubeObject>[],
  { deadline, timeoutSeconds, signal, progress }: WaitOptions,
): Promise<void> {
  const wanted = [
    ...nodes.map(({ name }) => ({ kind: 'Node' as Kind, name, namespace: undefined })),
    ...applied
      .filter(({ kind }) => kind === 'Pod' || kind === 'Deployment')
      .map(({ kind, metadata }) => ({ kind: kind as Kind, name: metadata.name!, namespace: metadata.namespace })),
  ];
  let waiting = wanted.map((one) => ({ ...one, why: '' }));
  const pods = wanted.length > nodes.length;
  let checkedAgain = !pods;
  for (;;) {
    const looked = await Promise.all(
      waiting.map(async (one) => {
        const object = (await client.find(one.kind, one.name, one.namespace)) as KubeObject | undefined;
        return { ...one, why: object === undefined ? 'it is gone' : whyNotReady(object) };
      }),
    );
    waiting = looked.filter((one): one is typeof one & { why: string } => one.why !== undefined);
    signal.throwIfAborted();
    if (waiting.length === 0) {
      if (checkedAgain) return;
      checkedAgain = true;
      waiting = wanted.map((one) => ({ ...one, why: '' }));
      await sleep(STEADY_MS);
      continue;
    }
    checkedAgain = !pods;
    const told = waiting.map(({ kind, name, why }) => `${kind} ${name} (${why})`);
    if (Date.now() > deadline) {
      throw failed(`not Ready after ${timeoutSeconds} s: ${told.join(', ')}`, 'everything was taken away again');
    }
    progress.say(`waiting for ${told.length === 1 ? told[0] : `${told.length} objects, ${told[0]}`}…`);
    await sleep(LOOK_MS);
  }
}
