/**
 * The pods of one node as processes: the agent's counterpart of kubelet. Given the desired pods, it creates sandboxes
 * and containers, watches, probes and restarts them, and removes them. All its state can be recovered: an agent that is
 * killed is replaced by one that takes over everything while it runs.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { HOST_PORTS_TAKEN, holdsHostPorts, hostPortsClash, hostPortsOf } from '../../api/host-ports.ts';
import type { Pod } from '../../api/types/objects.ts';
import { keepDescriptors } from '../../linux/execute.ts';
import { DEFAULT_BACK_OFF_MS } from '../container/back-off.ts';
import { Images } from '../image/images.ts';
import { OciRuntimes } from '../oci/runtimes.ts';
import { type PodState, podDirectories, readState } from '../state.ts';
import { PodGroups } from './groups.ts';
import type { PodManagerOptions } from './options.ts';
import { StorageWatch } from './storage-watch.ts';
import { PodWorker, type WorkerSurroundings } from './worker.ts';

export type { PodManagerOptions, PodNetwork } from './options.ts';
export type { Sandbox } from './sandbox.ts';

const DEFAULT_STATE_DIR = '/run/dataplane';
/**
 * For changes without notification: processes that an earlier agent started may have ended, log sizes, late ConfigMaps.
 */
const POLL_MS = 500;
const VOLUME_CHECK_MS = 10_000;

export class PodManager {
  private readonly options: PodManagerOptions;
  private readonly around: WorkerSurroundings;
  private readonly stateDir: string;
  private readonly workers = new Map<string, PodWorker>();
  /** The control groups of the pods. */
  readonly groups: PodGroups;
  private wanted = new Map<string, Pod>();
  private adopted = false;
  private closed = false;
  private timers: NodeJS.Timeout[] = [];
  private storage: StorageWatch | undefined;

  /** @throws Error if a catalogue file is invalid */
  constructor(options: PodManagerOptions) {
    this.options = options;
    this.stateDir = options.stateDir ?? DEFAULT_STATE_DIR;
    // Volumes hold Secrets and logs arbitrary output: only root may read them (kubelet: /var/lib/kubelet/pods).
    mkdirSync(join(this.stateDir, 'pods'), { recursive: true, mode: 0o700 });
    chmodSync(join(this.stateDir, 'pods'), 0o700);
    this.groups = options.groups ?? new PodGroups(this.stateDir);
    if (this.groups.missing !== undefined) options.log(`no control groups for pods: ${this.groups.missing}`);
    this.around = {
      options,
      stateDir: this.stateDir,
      backOffMs: options.backOffMs ?? DEFAULT_BACK_OFF_MS,
      images: new Images(options.catalogueFiles, options.log),
      groups: this.groups,
      runtimes: new OciRuntimes(options.containerRuntime ?? 'auto', this.stateDir, this.groups, options.log),
      onGone: (worker) => this.forget(worker),
    };
    // Containers inherit no descriptors from the process that started the agent.
    keepDescriptors();
    // Containers' users must be able to read volumes, whatever umask the agent was started with.
    process.umask(0o022);
  }

  /** Why the node is short of storage; undefined if it is not. */
  get storagePressure(): string | undefined {
    return this.storage?.pressure;
  }

  /**
   * Take over the pods that an earlier agent of this node left running: networks are attached again, probes and
   * restarts continue. Does not need the API. `sync` calls it if it has not been called.
   */
  adopt(): void {
    if (this.adopted) return;
    this.adopted = true;
    for (const directory of podDirectories(this.stateDir)) {
      const state = readState(directory);
      if (state?.nodeName !== this.options.nodeName) continue;
      const worker = new PodWorker(this.around, state.pod, state);
      this.workers.set(worker.key, worker);
    }
    this.storage = new StorageWatch(this.stateDir, () => this.workers.values(), this.options.log);
    this.timers.push(
      setInterval(() => this.each((worker) => worker.poll()), POLL_MS),
      setInterval(() => this.each((worker) => worker.wake()), VOLUME_CHECK_MS),
    );
  }

  /** The complete list of pods bound to this node. Returns at once; the work is done in the background. */
  sync(pods: readonly Pod[]): void {
    if (this.closed) return;
    this.adopt();
    this.wanted = new Map(pods.map((pod) => [`${pod.metadata.namespace ?? 'default'}/${pod.metadata.name}`, pod]));
    for (const [key, worker] of this.workers) {
      const pod = this.wanted.get(key);
      if (pod?.metadata.uid === worker.pod.metadata.uid) worker.update(pod);
      else worker.retire();
    }
    const created = ({ metadata: { creationTimestamp = '' } }: Pod): string => creationTimestamp;
    const fresh = [...this.wanted].filter(([key]) => !this.workers.has(key));
    // The oldest pod gets a host port (kubelet HandlePodAdditions).
    fresh.sort(([, a], [, b]) => (created(a) < created(b) ? -1 : created(a) > created(b) ? 1 : 0));
    for (const [key, pod] of fresh) this.begin(key, pod);
  }

  /**
   * Stop and restart one container of a pod, or all; the pod's network stays. Resolves when they have been started.
   * @throws Error if there is no such pod or container here
   */
  async restartContainer(namespace: string, pod: string, container?: string): Promise<void> {
    const worker = this.workers.get(`${namespace}/${pod}`);
    if (worker === undefined) throw new Error(`pod ${namespace}/${pod} is not on node ${this.options.nodeName}`);
    await worker.restart(container);
  }

  /**
   * Stop working. With `keepPods`, pods and containers keep running for the next manager; otherwise all are removed.
   */
  async close({ keepPods }: { keepPods: boolean }): Promise<void> {
    this.closed = true;
    for (const timer of this.timers) clearInterval(timer);
    this.storage?.close();
    await Promise.all([...this.workers.values()].map((worker) => (keepPods ? worker.close() : worker.destroy())));
    this.workers.clear();
  }

  private begin(key: string, pod: Pod): void {
    this.workers.set(key, new PodWorker(this.around, pod, undefined, this.whyNot(pod)));
  }

  /**
   * Why this node rejects a pod: another one has its host port. A pod with nodeName bypasses the scheduler (kubelet
   * lifecycle/predicate.go, rejectPod).
   */
  private whyNot(pod: Pod): PodState['failure'] {
    const wanted = hostPortsOf(pod.spec);
    if (wanted.length === 0 || !holdsHostPorts(pod)) return undefined;
    for (const { key, pod: other, state } of this.workers.values()) {
      // A pod that was deleted without grace no longer holds its ports, although its containers are still ending.
      if (this.wanted.get(key)?.metadata.uid !== other.metadata.uid) continue;
      if (state.failure !== undefined || !holdsHostPorts(other)) continue;
      if (!hostPortsClash(hostPortsOf(other.spec), wanted)) continue;
      const message = `Pod was rejected: Predicate NodePorts failed: node(s) ${HOST_PORTS_TAKEN}`;
      return { reason: 'NodePorts', message };
    }
    return undefined;
  }

  private forget(worker: PodWorker): void {
    this.workers.delete(worker.key);
    const next = this.wanted.get(worker.key);
    if (this.closed || next === undefined) return;
    // A new pod of the same name was waiting; the deleted one is about to disappear from the API.
    if (next.metadata.uid !== worker.pod.metadata.uid) this.begin(worker.key, next);
    else this.wanted.delete(worker.key);
  }

  private each(work: (worker: PodWorker) => void): void {
    for (const worker of this.workers.values()) work(worker);
  }
}
