/**
 * The containers of one pod: a runner for each, created on first use, and the order in which they start and end (kubelet,
 * computeInitContainerActions and termination_order.go). Init containers run one after the other; a sidecar among them
 * has only to have started before the next one begins. Sidecars end after the others, the last one first.
 */
import { isSidecar, sidecarsOf } from '../../api/containers.ts';
import { ContainerRunner } from '../container/runner.ts';
import type { ContainerRole } from '../state.ts';
import type { PodContext } from './context.ts';
import { isOver, restarts } from './status.ts';

/** A sidecar gets so much at least, however long the others took (kubelet, minimumGracePeriodInSeconds). */
const MIN_GRACE_SECONDS = 2;

export class PodContainers {
  private readonly context: PodContext;
  private readonly runners = new Map<string, ContainerRunner>();

  constructor(context: PodContext) {
    this.context = context;
  }

  /** The runners of the containers that are the pod's purpose. */
  regular(): ContainerRunner[] {
    return this.context.pod.spec.containers.map(({ name }) => this.regularOf(name));
  }

  regularOf(name: string): ContainerRunner {
    return this.of(name, 'regular');
  }

  /** Runners of all containers of the manifest, init containers first. */
  all(): ContainerRunner[] {
    return [...this.initial(), ...this.regular(), ...this.ephemeral()];
  }

  /** Runners created so far. */
  known(): Iterable<ContainerRunner> {
    return this.runners.values();
  }

  /** Delays until waiting containers are to be tried again, each at least `atLeastMs`. */
  waits(atLeastMs: number): number[] {
    return this.all()
      .filter(({ record }) => record.phase === 'waiting')
      .map(({ record }) => Math.max(record.notBeforeMs, Date.now() + atLeastMs))
      .filter(Number.isFinite);
  }

  /** Run the init containers one after the other, and start the sidecars. @returns true when that is done */
  async initialize(): Promise<boolean> {
    const { pod, state } = this.context;
    if (state.initialized) return true;
    for (const runner of this.initial()) {
      if (runner.role === 'init' && runner.completed) continue;
      for (const { record } of this.regular()) {
        if (record.reason === 'ContainerCreating') record.reason = 'PodInitializing';
      }
      if (runner.record.phase === 'terminated' && !restarts(pod, runner.record, runner.role)) return false;
      await runner.reconcile();
      if (!(runner.role === 'sidecar' ? runner.running && runner.record.started : runner.completed)) return false;
    }
    state.initialized = true;
    this.context.save();
    return true;
  }

  /** Keep the sidecars of an initialized pod running until the others have ended. @returns when to call again */
  async reconcileSidecars(): Promise<(number | undefined)[]> {
    const sidecars = this.sidecars();
    if (sidecars.length === 0) return [];
    if (this.isOver()) {
      await this.stopInTurn(sidecars, sidecars[0]!.graceSeconds());
      return [];
    }
    const times: (number | undefined)[] = [];
    for (const sidecar of sidecars) times.push(await sidecar.reconcile());
    return times;
  }

  /**
   * Start the ephemeral containers that have been added, also while init containers fail: they are there to find out why
   * (kuberuntime_manager.go, SyncPod). @returns when to call again, one time each
   */
  startEphemeral(): Promise<(number | undefined)[]> {
    return this.isOver() ? Promise.resolve([]) : Promise.all(this.ephemeral().map((runner) => runner.reconcile()));
  }

  /** They end with the containers that are the pod's purpose. */
  async stopEphemeralAtEnd(): Promise<void> {
    if (this.isOver()) await Promise.all(this.ephemeral().map((runner) => runner.stop(runner.graceSeconds())));
  }

  /** End all containers within the grace period of the pod; sidecars have what the others leave of it. */
  async stop(graceSeconds: number): Promise<void> {
    const endMs = Date.now() + graceSeconds * 1000;
    const others = this.all().filter(({ role }) => role !== 'sidecar');
    await Promise.all(others.map((runner) => runner.stop(graceSeconds)));
    const left = Math.max((endMs - Date.now()) / 1000, MIN_GRACE_SECONDS);
    await this.stopInTurn(this.sidecars(), graceSeconds > 0 ? left : 0);
  }

  private async stopInTurn(sidecars: readonly ContainerRunner[], graceSeconds: number): Promise<void> {
    const endMs = Date.now() + graceSeconds * 1000;
    for (const sidecar of sidecars.toReversed()) {
      await sidecar.stop(graceSeconds > 0 ? Math.max((endMs - Date.now()) / 1000, MIN_GRACE_SECONDS) : 0);
    }
  }

  private isOver(): boolean {
    return isOver(this.context.pod, this.context.state);
  }

  private initial(): ContainerRunner[] {
    const { initContainers = [] } = this.context.pod.spec;
    return initContainers.map((container) => this.of(container.name, isSidecar(container) ? 'sidecar' : 'init'));
  }

  private sidecars(): ContainerRunner[] {
    return sidecarsOf(this.context.pod.spec).map(({ name }) => this.of(name, 'sidecar'));
  }

  private ephemeral(): ContainerRunner[] {
    return (this.context.pod.spec.ephemeralContainers ?? []).map(({ name }) => this.of(name, 'ephemeral'));
  }

  private of(name: string, role: ContainerRole): ContainerRunner {
    let runner = this.runners.get(name);
    if (runner === undefined) {
      runner = new ContainerRunner(this.context, name, role);
      this.runners.set(name, runner);
    }
    return runner;
  }
}
