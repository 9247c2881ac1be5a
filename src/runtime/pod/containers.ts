/** The containers of one pod: a runner for each, created on first use, and the order in which they start. */
import { ContainerRunner } from '../container/runner.ts';
import type { ContainerRole } from '../state.ts';
import type { PodContext } from './context.ts';
import { phaseOf, restarts } from './status.ts';

export class PodContainers {
  private readonly context: PodContext;
  private readonly runners = new Map<string, ContainerRunner>();

  constructor(context: PodContext) {
    this.context = context;
  }

  /** The runner of a container of the manifest. */
  of(name: string, role: ContainerRole): ContainerRunner {
    let runner = this.runners.get(name);
    if (runner === undefined) {
      runner = new ContainerRunner(this.context, name, role);
      this.runners.set(name, runner);
    }
    return runner;
  }

  /** Runners of all containers of the manifest, init containers first. */
  all(): ContainerRunner[] {
    const { initContainers = [], containers } = this.context.pod.spec;
    return [
      ...initContainers.map(({ name }) => this.of(name, 'init')),
      ...containers.map(({ name }) => this.of(name, 'regular')),
      ...this.ephemeral(),
    ];
  }

  private ephemeral(): ContainerRunner[] {
    return (this.context.pod.spec.ephemeralContainers ?? []).map(({ name }) => this.of(name, 'ephemeral'));
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

  private isOver(): boolean {
    const phase = phaseOf(this.context.pod, this.context.state);
    return phase === 'Succeeded' || phase === 'Failed';
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

  /** Run the init containers one after the other. @returns true when all have completed */
  async initialize(): Promise<boolean> {
    const { pod, state } = this.context;
    if (state.initialized) return true;
    for (const { name } of pod.spec.initContainers ?? []) {
      const runner = this.of(name, 'init');
      if (runner.completed) continue;
      for (const waiting of pod.spec.containers) {
        const { record } = this.of(waiting.name, 'regular');
        if (record.reason === 'ContainerCreating') record.reason = 'PodInitializing';
      }
      if (runner.record.phase === 'terminated' && !restarts(pod, runner.record, 'init')) return false;
      await runner.reconcile();
      if (!runner.completed) return false;
    }
    state.initialized = true;
    this.context.save();
    return true;
  }
}
