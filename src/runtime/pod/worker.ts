/**
 * One pod on this node, from the first sight of its manifest until nothing of it is left. Level-triggered: every event
 * only wakes the worker, which compares the desired state with the actual state, one step at a time.
 */
import type { Pod, PodStatus } from '../../api/types/objects.ts';
import { WellKnown } from '../../api/types/objects.ts';
import { isAlive } from '../../linux/processes.ts';
import { removeDirectory, removePodFiles } from '../cleanup.ts';
import { boundLog, podDirectory } from '../container/logs.ts';
import { hasResources } from '../container/resources.ts';
import { DEFAULT_GRACE_SECONDS } from '../container/runner.ts';
import { serviceEnvironment } from '../container/service-environment.ts';
import { ConfigSource, ContainerConfigError } from '../files/config-source.ts';
import { hasConfigVolumes, prepareVolumes, type VolumeVersions } from '../files/volumes.ts';
import type { Images } from '../image/images.ts';
import type { OciRuntimes } from '../oci/runtimes.ts';
import { type PodState, readState, writeState } from '../state.ts';
import { PodContainers } from './containers.ts';
import type { PodContext } from './context.ts';
import { freeStorage } from './free-storage.ts';
import type { PodGroups } from './groups.ts';
import type { PodManagerOptions } from './options.ts';
import { PodSandbox } from './pod-sandbox.ts';
import { netnsNameOf } from './sandbox.ts';
import { StatusReporter } from './status-reporter.ts';

const RETRY_MS = 1_000;
const VOLUME_RETRY_MS = 2_000;
const EVICTED = 'Evicted';

export interface WorkerSurroundings {
  options: PodManagerOptions;
  stateDir: string;
  backOffMs: number;
  images: Images;
  groups: PodGroups;
  runtimes: OciRuntimes;
  /** Nothing is left of the pod. */
  onGone(worker: PodWorker): void;
}

export class PodWorker {
  pod: Pod;
  readonly state: PodState;
  readonly podDir: string;
  private readonly around: WorkerSurroundings;
  private readonly source: ConfigSource;
  private readonly context: PodContext;
  private readonly reporter: StatusReporter;
  private readonly volumes: VolumeVersions = new Map();
  private readonly containers: PodContainers;
  private readonly sandbox: PodSandbox;
  private retired = false;
  private closed = false;
  private awake = false;
  private loop: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private restartRequests: { names: string[]; done: () => void }[] = [];
  /** When a sandbox that could not be created is tried again. */
  private sandboxRetryMs: number | undefined;
  private lastTrouble = '';

  /**
   * @param found state that an earlier agent left of this pod
   * @param failure why the node rejects a new pod
   */
  constructor(around: WorkerSurroundings, pod: Pod, found?: PodState, failure?: PodState['failure']) {
    const { namespace = 'default', name } = pod.metadata;
    this.around = around;
    this.pod = pod;
    this.podDir = podDirectory(around.stateDir, namespace, name);
    this.state = found ?? {
      version: 1,
      nodeName: around.options.nodeName,
      pod: withoutStatus(pod),
      netnsName: pod.spec.hostNetwork ? '' : netnsNameOf(namespace, name),
      podIP: pod.spec.hostNetwork
        ? (around.options.nodeIP ?? '')
        : (pod.metadata.annotations?.[WellKnown.POD_IP] ?? ''),
      startedAtMs: Date.now(),
      initialized: false,
      containers: {},
      ...(failure !== undefined && { failure }),
    };
    this.source = new ConfigSource(around.options);
    this.reporter = new StatusReporter(around.options, () => this.pod, this.state);
    this.context = this.makeContext();
    this.containers = new PodContainers(this.context);
    this.sandbox = new PodSandbox(this.context, around.options);
    if (found !== undefined) for (const runner of this.containers.all()) runner.adopt();
    const { missing } = around.groups;
    if (found === undefined && failure === undefined && missing !== undefined && hasResources(pod)) {
      this.event('Warning', 'ResourcesNotEnforced', `requests and limits are not enforced on this node: ${missing}`);
    }
    if (failure !== undefined) {
      this.save();
      this.event('Warning', failure.reason, failure.message);
    }
    this.wake();
  }

  get key(): string {
    return `${this.pod.metadata.namespace ?? 'default'}/${this.pod.metadata.name}`;
  }

  /** A new version of the manifest of the same pod (uid). */
  update(pod: Pod): void {
    const changed = pod.metadata.resourceVersion !== this.pod.metadata.resourceVersion;
    this.pod = pod;
    if (changed || hasConfigVolumes(pod)) this.wake();
  }

  /** The object is gone: end at once, without a grace period. */
  retire(): void {
    this.retired = true;
    for (const runner of this.containers.known()) runner.kill();
    this.wake();
  }

  /**
   * Restart one container, or all; resolves when they have been started again. @throws Error if there is no such
   * container
   */
  restart(container?: string): Promise<void> {
    const names = this.pod.spec.containers.map(({ name }) => name);
    if (container !== undefined && !names.includes(container)) {
      throw new Error(`pod ${this.key} has no container "${container}" (it has ${names.join(', ')})`);
    }
    return new Promise((done) => {
      this.restartRequests.push({ names: container === undefined ? names : [container], done });
      this.wake();
    });
  }

  wake = (): void => {
    this.awake = true;
    this.loop ??= this.run();
  };

  /** Check for exits without notification: containers that an earlier agent started; and how much they log. */
  poll(): void {
    const { pause, containers } = this.state;
    const running = Object.values(containers).filter((record) => record.phase === 'running');
    for (const { name } of running) this.limitLog(name);
    const ended = running.some((record) => !isAlive(record.process?.keeper));
    if (ended || (pause !== undefined && !isAlive(pause))) this.wake();
  }

  /** A disk that is full is no reason to stop looking after the pod. */
  private limitLog(container: string): void {
    try {
      boundLog(this.podDir, container);
    } catch (error) {
      this.trouble(
        'FailedLogRotation',
        `the log of container ${container} cannot be limited: ${(error as Error).message}`,
      );
    }
  }

  /** Does its use of storage matter at present? */
  get usesStorage(): boolean {
    return this.state.failure === undefined && !this.closed && !this.retired;
  }

  /** End the pod for good, because it has used too much of what others need too. */
  evict(message: string): void {
    if (!this.usesStorage) return;
    this.state.failure = { reason: EVICTED, message };
    // First of all there has to be space again: nothing can be recorded without.
    for (const runner of this.containers.known()) runner.kill();
    this.freeStorage();
    this.event('Warning', EVICTED, message);
    this.wake();
  }

  private freeStorage(): void {
    try {
      freeStorage(this.pod, this.podDir);
    } catch (error) {
      this.trouble('FailedSync', `storage cannot be freed: ${(error as Error).message}`);
    }
  }

  /** Stop managing the pod, which keeps running. Resolves when the step in progress is done. */
  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    for (const runner of this.containers.known()) runner.release();
    this.reporter.close();
    await this.loop;
  }

  /** Remove the pod now, whatever the API contains. */
  async destroy(): Promise<void> {
    await this.close();
    await this.removeAll();
  }

  private async run(): Promise<void> {
    while (this.awake && !this.closed) {
      this.awake = false;
      try {
        await this.step();
      } catch (error) {
        this.trouble('FailedSync', (error as Error).message);
        this.wakeAt(Date.now() + RETRY_MS);
      }
    }
    this.loop = undefined;
  }

  private async step(): Promise<void> {
    clearTimeout(this.timer);
    for (const runner of this.containers.known()) runner.observe();
    if (this.retired || this.pod.metadata.deletionTimestamp !== undefined) return this.terminate();
    if (JSON.stringify(withoutStatus(this.pod)) !== JSON.stringify(this.state.pod)) {
      this.state.pod = withoutStatus(this.pod);
      this.save();
    }
    const nextMs = await this.converge();
    this.reporter.publish();
    if (nextMs !== undefined) this.wakeAt(nextMs);
  }

  /** @returns when to reconcile again */
  private async converge(): Promise<number | undefined> {
    const nowMs = Date.now();
    const deadlineMs = this.deadline();
    if (this.state.failure === undefined && deadlineMs !== undefined && nowMs >= deadlineMs) {
      this.state.failure = {
        reason: 'DeadlineExceeded',
        message: 'Pod was active on the node longer than the specified deadline',
      };
      this.save();
      this.event('Normal', this.state.failure.reason, this.state.failure.message);
    }
    if (this.state.failure !== undefined) {
      const evicted = this.state.failure.reason === EVICTED;
      await this.containers.stop(evicted ? 0 : (this.pod.spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS));
      if (evicted) this.freeStorage();
      this.save();
      return undefined;
    }
    if (!(await this.ensureSandbox())) return earliest([deadlineMs, this.sandboxRetryMs]);
    this.reporter.publish();
    try {
      await prepareVolumes(this.pod, this.podDir, this.source, this.volumes, this.context.facts());
    } catch (error) {
      if (!(error instanceof ContainerConfigError)) throw error;
      this.trouble('FailedMount', error.message);
      return nowMs + VOLUME_RETRY_MS;
    }
    const times = [deadlineMs, ...(await this.containers.startEphemeral())];
    if (!(await this.containers.initialize())) return earliest([...times, ...this.containers.waits(RETRY_MS)]);
    const requests = this.restartRequests.splice(0);
    for (const { names } of requests) for (const name of names) this.containers.regularOf(name).restartNow();
    for (const runner of this.containers.regular()) times.push(await runner.reconcile());
    times.push(...(await this.containers.reconcileSidecars()));
    await this.containers.stopEphemeralAtEnd();
    for (const { done } of requests) done();
    this.lastTrouble = '';
    return earliest(times);
  }

  /** @returns false if it cannot exist yet */
  private async ensureSandbox(): Promise<boolean> {
    if (this.sandbox.isLost()) {
      this.event('Normal', 'SandboxChanged', 'Pod sandbox changed, it will be killed and re-created.');
      await this.removeSandbox();
    }
    this.sandboxRetryMs = undefined;
    try {
      return await this.sandbox.ensure();
    } catch (error) {
      this.trouble('FailedCreatePodSandBox', `Failed to create pod sandbox: ${(error as Error).message}`);
      this.sandboxRetryMs = Date.now() + RETRY_MS;
      return false;
    }
  }

  private async removeSandbox(): Promise<void> {
    for (const runner of this.containers.known()) runner.sandboxLost();
    await this.sandbox.remove();
  }

  /** End the containers with their grace period, remove everything, report to the API. */
  private async terminate(): Promise<void> {
    const { options } = this.around;
    const { deletionGracePeriodSeconds, deletionTimestamp } = this.pod.metadata;
    const grace = deletionGracePeriodSeconds ?? this.pod.spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS;
    this.reporter.publish();
    await this.containers.stop(this.retired ? 0 : grace);
    await this.removeAll();
    for (const { done } of this.restartRequests.splice(0)) done();
    if (!this.retired && deletionTimestamp !== undefined) {
      this.reporter.publish();
      await this.reporter.settled(RETRY_MS);
      try {
        await options.confirmDeleted(this.pod);
      } catch (error) {
        if ((error as { code?: unknown }).code !== 404) throw error;
      }
    }
    this.closed = true;
    this.reporter.close();
    this.around.onGone(this);
  }

  private async removeAll(): Promise<void> {
    await this.removeSandbox();
    if (readState(this.podDir) !== undefined) await removePodFiles(this.podDir);
    else removeDirectory(this.podDir);
  }

  private deadline(): number | undefined {
    const { activeDeadlineSeconds } = this.pod.spec;
    return activeDeadlineSeconds === undefined ? undefined : this.state.startedAtMs + activeDeadlineSeconds * 1000;
  }

  private wakeAt(ms: number): void {
    if (this.closed) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(this.wake, Math.min(Math.max(0, ms - Date.now()), 2 ** 31 - 1));
  }

  private save(): void {
    writeState(this.podDir, this.state);
  }

  private event(type: 'Normal' | 'Warning', reason: string, message: string, fieldPath?: string): void {
    this.around.options.recordEvent(this.pod, type, reason, message, fieldPath);
  }

  /** Report a problem, but not twice in a row. */
  private trouble(reason: string, message: string): void {
    const text = `${reason}: ${message}`;
    if (text !== this.lastTrouble) {
      this.around.options.log(`pod ${this.key}: ${text}`);
      this.event('Warning', reason, message);
    }
    this.lastTrouble = text;
  }

  private makeContext(): PodContext {
    const worker = this;
    const { options, stateDir, backOffMs } = this.around;
    return {
      get pod() {
        return worker.pod;
      },
      state: this.state,
      stateDir,
      podDir: this.podDir,
      source: this.source,
      backOffMs,
      facts: () => ({
        podDir: this.podDir,
        podIP: this.state.podIP,
        hostIP: options.nodeIP ?? '',
        dns: options.dns,
        services: serviceEnvironment(this.pod, options.services?.() ?? []),
      }),
      images: this.around.images,
      groups: this.around.groups,
      runtimes: this.around.runtimes,
      log: (message) => options.log(`pod ${this.key}: ${message}`),
      save: () => this.save(),
      wake: this.wake,
      event: (type, reason, message, fieldPath) => this.event(type, reason, message, fieldPath),
    };
  }
}

const earliest = (times: readonly (number | undefined)[]): number | undefined => {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
};

/** The parts of a manifest worth keeping: status and version change with every report of ours. */
function withoutStatus({ status: _, ...pod }: Pod & { status?: PodStatus }): Pod {
  return { ...pod, metadata: { ...pod.metadata, resourceVersion: '' } };
}
