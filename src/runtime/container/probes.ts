/** The probes of one instance of a container, and their consequences: started, ready, or to be restarted. */
import type { Container, Probe } from '../../api/types/objects.ts';
import type { HandlerTarget } from './handlers.ts';
import { ProbeRunner } from './probe.ts';

export interface Health {
  started: boolean;
  ready: boolean;
}

export interface HealthEvents {
  onChange(health: Health): void;
  /** A liveness or startup probe has failed. */
  onDead(kind: 'Liveness' | 'Startup', message: string): void;
  onUnhealthy(kind: 'Liveness' | 'Readiness' | 'Startup', message: string): void;
}

export class ContainerProbes {
  private readonly container: Container;
  private readonly target: HandlerTarget;
  private readonly events: HealthEvents;
  private readonly startedAtMs: number;
  private runners: ProbeRunner[] = [];
  private health: Health;

  /** @param known earlier health, for a container that a previous agent started */
  constructor(container: Container, target: HandlerTarget, events: HealthEvents, startedAtMs: number, known?: Health) {
    this.container = container;
    this.target = target;
    this.events = events;
    this.startedAtMs = startedAtMs;
    this.health = known ?? { started: false, ready: false };
    if (container.startupProbe === undefined || this.health.started) this.afterStartup();
    else {
      this.run(container.startupProbe, 'Startup', () => {
        this.stop();
        this.afterStartup();
      });
    }
  }

  stop(): void {
    for (const runner of this.runners) runner.stop();
    this.runners = [];
  }

  private afterStartup(): void {
    const { readinessProbe, livenessProbe } = this.container;
    this.change({ started: true, ready: readinessProbe === undefined || this.health.ready });
    if (readinessProbe !== undefined) {
      this.run(readinessProbe, 'Readiness', () => this.change({ started: true, ready: true }), this.health.ready);
    }
    // A program that is still starting is not dead, and a success has no effect: no extra tries.
    if (livenessProbe !== undefined) this.run(livenessProbe, 'Liveness', () => {}, true);
  }

  private run(probe: Probe, kind: 'Liveness' | 'Readiness' | 'Startup', onPassed: () => void, passed = false): void {
    const runner = new ProbeRunner(
      probe,
      this.target,
      {
        onPassed,
        onFailed: (message) => {
          if (kind === 'Readiness') this.change({ started: true, ready: false });
          else this.events.onDead(kind, message);
        },
        onUnhealthy: (message) => this.events.onUnhealthy(kind, message),
      },
      this.startedAtMs,
      passed,
    );
    this.runners.push(runner);
  }

  private change(health: Health): void {
    if (health.ready === this.health.ready && health.started === this.health.started) return;
    this.health = health;
    this.events.onChange(health);
  }
}
