/** Runs one pod of a DaemonSet on every node that its template fits (pkg/controller/daemon). */
import { ApiError } from '../../api/errors.ts';
import { isEnded } from '../../api/pod-phase.ts';
import { matchesLabels } from '../../api/selectors.ts';
import type { DaemonSet, NodeObject, Pod, PodTemplate, Toleration } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { nodeAffinityFits } from '../pods/node-affinity.ts';
import { untolerated } from '../pods/tolerations.ts';
import { keyOf, splitKey, type WorkQueue } from '../work-queue.ts';
import { Owned } from './owners.ts';
import { availableIn, createPod, deletePod, share, withoutZeros } from './pod-control.ts';
import { hashOf, REVISION_HASH, Revisions } from './revisions.ts';

const GENERATION = 'pod-template-generation';

/** Tolerations that every daemon pod gets (daemon/util/daemonset_util.go, AddOrUpdateDaemonPodTolerations). */
const TOLERATED: readonly Toleration[] = [
  { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' },
  { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' },
  { key: 'node.kubernetes.io/disk-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/memory-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/pid-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/unschedulable', operator: 'Exists', effect: 'NoSchedule' },
];

export function startDaemonSetController(cluster: Cluster): void {
  const { store } = cluster;
  const owned = new Owned(store, 'Pod', 'DaemonSet');
  const revisions = new Revisions(cluster, 'DaemonSet');
  const queue: WorkQueue = cluster.queue('daemon-sets', (key) => {
    const set = store.get('DaemonSet', ...splitKey(key));
    if (set === undefined || set.metadata.deletionTimestamp !== undefined) return;
    new Daemons(cluster, queue, revisions, set, owned.claim(cluster, set, set.spec.selector)).reconcile();
  });
  owned.queueOwners(queue, ({ spec }) => spec.selector);
  store.onCommit('Node', ({ type, object, old }) => {
    if (type === 'MODIFIED' && fitness(object) === fitness(old!)) return;
    for (const set of store.list('DaemonSet')) queue.add(keyOf(set));
  });
}

const fitness = ({ metadata, spec }: NodeObject): string => JSON.stringify([metadata.labels, spec?.taints]);

class Daemons {
  private readonly cluster: Cluster;
  private readonly queue: WorkQueue;
  private readonly revisions: Revisions<'DaemonSet'>;
  private readonly set: DaemonSet;
  private readonly pods: Pod[];
  private readonly template: PodTemplate;

  constructor(cluster: Cluster, queue: WorkQueue, revisions: Revisions<'DaemonSet'>, set: DaemonSet, pods: Pod[]) {
    this.cluster = cluster;
    this.queue = queue;
    this.revisions = revisions;
    this.set = set;
    this.pods = pods;
    const { template } = set.spec;
    const tolerations = [...(template.spec.tolerations ?? []), ...TOLERATED];
    this.template = { ...template, spec: { ...template.spec, tolerations } };
  }

  reconcile(): void {
    const { cluster, set } = this;
    const nodes = cluster.store.list('Node');
    const wanted = nodes.filter((node) => this.fits(node));
    const hash = hashOf(this.revisions.ensure(set));
    let failure: ApiError | undefined;
    for (const node of nodes) {
      const here = this.on(node);
      // A daemon pod that has ended is replaced, whether it succeeded or failed.
      for (const pod of here.filter((p) => isEnded(p) && !isEnding(p))) deletePod(cluster, set, pod);
      const alive = here.filter((pod) => !isEnded(pod));
      if (!wanted.includes(node)) for (const pod of alive) if (!isEnding(pod)) deletePod(cluster, set, pod);
      if (!wanted.includes(node) || alive.length > 0) continue;
      try {
        this.pods.push(this.create(node, hash));
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        failure = error;
      }
    }
    this.update(wanted, hash);
    this.writeStatus(wanted, hash);
    this.revisions.forget(set, new Set([hash, ...this.pods.map((pod) => pod.metadata.labels?.[REVISION_HASH] ?? '')]));
    if (failure !== undefined) throw failure;
  }

  private on(node: NodeObject): Pod[] {
    return this.pods.filter(({ spec }) => spec.nodeName === node.metadata.name);
  }

  private fits(node: NodeObject): boolean {
    const { spec } = this.template;
    if (node.metadata.deletionTimestamp !== undefined) return false;
    if (!matchesLabels(spec.nodeSelector ?? {}, node.metadata.labels) || !nodeAffinityFits(spec, node)) return false;
    return untolerated(node.spec?.taints, spec.tolerations, ['NoSchedule', 'NoExecute']) === undefined;
  }

  private create(node: NodeObject, hash: string): Pod {
    return createPod(this.cluster, this.set, this.template, {
      labels: { [REVISION_HASH]: hash, [GENERATION]: String(this.set.metadata.generation ?? 1) },
      spec: { nodeName: node.metadata.name },
    });
  }

  /** Deletes pods of older templates, at most maxUnavailable at a time; unavailable ones first. */
  private update(wanted: readonly NodeObject[], hash: string): void {
    const { updateStrategy, minReadySeconds } = this.set.spec;
    if (updateStrategy?.type === 'OnDelete') return;
    const given = share(updateStrategy?.rollingUpdate?.maxUnavailable ?? 1, wanted.length, Math.ceil);
    let room = Math.max(1, given);
    const outdated: Pod[] = [];
    for (const node of wanted) {
      const [pod] = this.on(node).filter((each) => !isEnded(each));
      const serves = pod !== undefined && !isEnding(pod) && availableIn(pod, minReadySeconds) === 0;
      const old = pod !== undefined && pod.metadata.labels?.[REVISION_HASH] !== hash;
      if (!serves) {
        room--;
        if (old && !isEnding(pod)) deletePod(this.cluster, this.set, pod);
      } else if (old) outdated.push(pod);
    }
    for (const pod of outdated.slice(0, Math.max(0, room))) deletePod(this.cluster, this.set, pod);
  }

  private writeStatus(wanted: readonly NodeObject[], hash: string): void {
    const { store, registry } = this.cluster;
    const { namespace, name } = this.set.metadata;
    const now = store.get('DaemonSet', namespace, name);
    if (now === undefined) return;
    const { minReadySeconds } = now.spec;
    const names = new Set(wanted.map(({ metadata }) => metadata.name));
    const present = this.pods.filter((pod) => !isEnded(pod) && store.get('Pod', namespace, pod.metadata.name));
    const right = present.filter(({ spec }) => names.has(spec.nodeName ?? ''));
    const waits = right.map((pod) => availableIn(pod, minReadySeconds)).filter((ms) => ms !== undefined);
    const available = waits.filter((ms) => ms === 0).length;
    const status = {
      currentNumberScheduled: right.length,
      numberMisscheduled: present.length - right.length,
      desiredNumberScheduled: wanted.length,
      numberReady: waits.length,
      observedGeneration: now.metadata.generation,
      ...withoutZeros({
        updatedNumberScheduled: right.filter((pod) => pod.metadata.labels?.[REVISION_HASH] === hash).length,
        numberAvailable: available,
        numberUnavailable: wanted.length - available,
      }),
    };
    registry.write({ ...now, status }, now);
    const still = waits.filter((ms) => ms > 0);
    if (still.length > 0) this.queue.addAfter(keyOf(now), Math.min(...still) + 10);
  }
}

const isEnding = (pod: Pod): boolean => pod.metadata.deletionTimestamp !== undefined;
