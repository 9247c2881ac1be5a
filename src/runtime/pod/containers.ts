/** The containers of one pod: a runner for each, created on first use, and the order of the init containers. */
import { ContainerRunner } from '../container/runner.ts';
import type { PodContext } from './context.ts';
import { restarts } from './status.ts';

export class PodContainers {
  private readonly context: PodContext;
  private readonly runners = new Map<string, ContainerRunner>();

  constructor(context: PodContext) {
    this.context = context;
  }

  /** The runner of a container of the manifest. */
  of(name: string, isInit: boolean): ContainerRunner {
    let runner = this.runners.get(name);
    if (runner === undefined) {
      runner = new ContainerRunner(this.context, name, isInit);
      this.runners.set(name, runner);
    }
    return runner;
  }

  /** Runners of all containers of the manifest, init containers first. */
  all(): ContainerRunner[] {
    const { initContainers = [], containers } = this.context.pod.spec;
    return [
      ...initContainers.map(({ name }) => this.of(name, true)),
      ...containers.map(({ name }) => this.of(name, false)),
    ];
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
      const runner = this.of(name, true);
      if (runner.completed) continue;
      for (const waiting of pod.spec.containers) {
        const { record } = this.of(waiting.name, false);
        if (record.reason === 'ContainerCreating') record.reason = 'PodInitializing';
      }
      if (runner.record.phase === 'terminated' && !restarts(pod, runner.record, true)) return false;
      await runner.reconcile();
      if (!runner.completed) return false;
    }
    state.initialized = true;
    this.context.save();
    return true;
  }
}
