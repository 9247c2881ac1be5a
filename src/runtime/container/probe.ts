/**
 * The probes of one running container (kubelet's pkg/kubelet/prober/worker.go): the startup probe first; the others
 * wait until it has succeeded. A failed liveness probe ends the container; readiness takes it out of service.
 *
 * Unlike kubelet, a probe that has not yet succeeded is also tried in between, after 50, 100, 200 … ms, so that a
 * program that starts quickly is not found ready only a whole period later. Failures of these extra tries do not count.
 */
import type { Probe } from '../../api/types/objects.ts';
import { type HandlerTarget, type Outcome, runHandler } from './handlers.ts';

const FIRST_RETRY_MS = 50;

export interface ProbeResult {
  /** The threshold has just been reached. */
  passed?: boolean;
  failed?: boolean;
}

/** Counts results against the thresholds; no clock, no I/O. */
export class ProbeCounter {
  private readonly probe: Probe;
  private successes = 0;
  private failures = 0;

  constructor(probe: Probe) {
    this.probe = probe;
  }

  count(ok: boolean): ProbeResult {
    if (ok) {
      this.failures = 0;
      this.successes++;
      return this.successes === (this.probe.successThreshold ?? 1) ? { passed: true } : {};
    }
    this.successes = 0;
    this.failures++;
    return this.failures === (this.probe.failureThreshold ?? 3) ? { failed: true } : {};
  }
}

export interface ProbeEvents {
  onPassed(): void;
  onFailed(message: string): void;
  /** Called for every failure that counts, for the pod's events. */
  onUnhealthy(message: string): void;
}

/** One probe, from the container's start until `stop`. */
export class ProbeRunner {
  private readonly probe: Probe;
  private readonly target: HandlerTarget;
  private readonly events: ProbeEvents;
  private readonly counter: ProbeCounter;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;
  private everPassed: boolean;

  /** @param startedAtMs when the container started; @param passed result known from before */
  constructor(probe: Probe, target: HandlerTarget, events: ProbeEvents, startedAtMs: number, passed = false) {
    this.probe = probe;
    this.target = target;
    this.events = events;
    this.counter = new ProbeCounter(probe);
    this.everPassed = passed;
    const delay = startedAtMs + (probe.initialDelaySeconds ?? 0) * 1000 - Date.now();
    this.schedule(Math.max(0, delay), Date.now() + Math.max(0, delay), FIRST_RETRY_MS);
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  /** @param dueMs when the next counted try is due; @param retryMs interval of the extra tries */
  private schedule(delayMs: number, dueMs: number, retryMs: number): void {
    this.timer = setTimeout(() => void this.tryOnce(dueMs, retryMs), delayMs);
  }

  private async tryOnce(dueMs: number, retryMs: number): Promise<void> {
    const counts = Date.now() >= dueMs;
    const outcome = await runHandler(this.probe, this.target, (this.probe.timeoutSeconds ?? 1) * 1000);
    if (this.stopped) return;
    if (outcome.ok || counts) this.judge(outcome);
    if (this.stopped) return;
    const nextDueMs = counts ? Math.max(dueMs + (this.probe.periodSeconds ?? 10) * 1000, Date.now()) : dueMs;
    const untilDue = Math.max(0, nextDueMs - Date.now());
    if (this.everPassed) this.schedule(untilDue, nextDueMs, retryMs);
    else this.schedule(Math.min(untilDue, retryMs), nextDueMs, retryMs * 2);
  }

  private judge({ ok, message }: Outcome): void {
    const { passed, failed } = this.counter.count(ok);
    if (!ok) this.events.onUnhealthy(message);
    if (passed) {
      this.everPassed = true;
      this.events.onPassed();
    }
    if (failed) this.events.onFailed(message);
  }
}
