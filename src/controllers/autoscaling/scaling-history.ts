/**
 * How fast an autoscaler may follow its metrics (pkg/controller/podautoscaler/horizontal.go): recommendations of the past
 * hold back a change until a window is over, and policies limit how much may change within a period. One for each
 * autoscaler; time is passed in.
 */
import { DEFAULT_SCALE_DOWN, DEFAULT_SCALE_UP } from '../../api/schema/autoscaler-defaults.ts';
import type { HorizontalPodAutoscaler, ScalingRules } from '../../api/types/objects.ts';

const DOWN_WINDOW_SECONDS = 300;

interface Change {
  atMs: number;
  replicas: number;
}

/** A reason and a message, for a condition. */
export interface Verdict {
  replicas: number;
  reason: string;
  message: string;
}

const IN_RANGE = { reason: 'DesiredWithinRange', message: 'the desired count is within the acceptable range' };
const TOO_MANY = {
  reason: 'TooManyReplicas',
  message: 'the desired replica count is more than the maximum replica count',
};
const TOO_FEW = {
  reason: 'TooFewReplicas',
  message: 'the desired replica count is less than the minimum replica count',
};
const TOO_FAST_UP = {
  reason: 'ScaleUpLimit',
  message: 'the desired replica count is increasing faster than the maximum scale rate',
};
const TOO_FAST_DOWN = {
  reason: 'ScaleDownLimit',
  message: 'the desired replica count is decreasing faster than the maximum scale rate',
};

export class ScalingHistory {
  private recommendations: Change[] = [];
  private added: Change[] = [];
  private removed: Change[] = [];

  /** The recommendation that the windows allow now; `desired` is remembered for later ones. */
  stabilize(spec: HorizontalPodAutoscaler['spec'], current: number, desired: number, nowMs: number): Verdict {
    const upMs = (rulesOf(spec, 'up').stabilizationWindowSeconds ?? 0) * 1000;
    const downMs = (rulesOf(spec, 'down').stabilizationWindowSeconds ?? DOWN_WINDOW_SECONDS) * 1000;
    let lowest = desired;
    let highest = desired;
    for (const { atMs, replicas } of this.recommendations) {
      if (atMs > nowMs - upMs) lowest = Math.min(lowest, replicas);
      if (atMs > nowMs - downMs) highest = Math.max(highest, replicas);
    }
    this.recommendations = since(this.recommendations, nowMs - Math.max(upMs, downMs));
    this.recommendations.push({ atMs: nowMs, replicas: desired });
    const replicas = Math.min(Math.max(current, lowest), highest);
    if (replicas === desired) {
      return { replicas, reason: 'ReadyForNewScale', message: 'recommended size matches current size' };
    }
    const [kind, others, which] =
      desired >= current ? ['ScaleUp', 'lower', 'lowest'] : (['ScaleDown', 'higher', 'highest'] as const);
    const message = `recent recommendations were ${others} than current one, applying the ${which} recent recommendation`;
    return { replicas, reason: `${kind}Stabilized`, message };
  }

  /** What bounds and policies leave of a recommendation. */
  limit(spec: HorizontalPodAutoscaler['spec'], current: number, desired: number, nowMs: number): Verdict {
    const { minReplicas = 1, maxReplicas } = spec;
    if (desired > current) {
      const fastest = Math.max(current, this.upTo(rulesOf(spec, 'up'), current, nowMs));
      const most = Math.min(maxReplicas, fastest);
      if (desired > most) return { replicas: most, ...(maxReplicas > fastest ? TOO_FAST_UP : TOO_MANY) };
    } else if (desired < current) {
      const fastest = Math.min(current, this.downTo(rulesOf(spec, 'down'), current, nowMs));
      const fewest = Math.max(minReplicas, fastest);
      if (desired < fewest) return { replicas: fewest, ...(minReplicas < fastest ? TOO_FAST_DOWN : TOO_FEW) };
    } else if (desired < minReplicas) return { replicas: minReplicas, ...TOO_FEW };
    else if (desired > maxReplicas) return { replicas: maxReplicas, ...TOO_MANY };
    return { replicas: desired, ...IN_RANGE };
  }

  /** The target has been scaled. */
  record(spec: HorizontalPodAutoscaler['spec'], from: number, to: number, nowMs: number): void {
    const change = { atMs: nowMs, replicas: Math.abs(to - from) };
    (to > from ? this.added : this.removed).push(change);
    const policies = [rulesOf(spec, 'up'), rulesOf(spec, 'down')].flatMap((rules) => rules.policies ?? []);
    const longest = Math.max(0, ...policies.map(({ periodSeconds }) => periodSeconds));
    this.added = since(this.added, nowMs - longest * 1000);
    this.removed = since(this.removed, nowMs - longest * 1000);
  }

  private upTo({ policies = [], selectPolicy }: ScalingRules, current: number, nowMs: number): number {
    if (selectPolicy === 'Disabled') return current;
    const proposals = policies.map(({ type, value, periodSeconds }) => {
      const start = this.atStart(current, periodSeconds, nowMs);
      return type === 'Pods' ? start + value : Math.ceil(start * (1 + value / 100));
    });
    return selectPolicy === 'Min' ? Math.min(...proposals) : Math.max(...proposals);
  }

  private downTo({ policies = [], selectPolicy }: ScalingRules, current: number, nowMs: number): number {
    if (selectPolicy === 'Disabled') return current;
    const proposals = policies.map(({ type, value, periodSeconds }) => {
      const start = this.atStart(current, periodSeconds, nowMs);
      return type === 'Pods' ? start - value : Math.trunc(start * (1 - value / 100));
    });
    return selectPolicy === 'Min' ? Math.max(...proposals) : Math.min(...proposals);
  }

  /** How many replicas there were when the period began. */
  private atStart(current: number, periodSeconds: number, nowMs: number): number {
    const sum = (changes: readonly Change[]) =>
      since(changes, nowMs - periodSeconds * 1000).reduce((total, { replicas }) => total + replicas, 0);
    return current - sum(this.added) + sum(this.removed);
  }
}

const since = (changes: readonly Change[], ms: number): Change[] => changes.filter(({ atMs }) => atMs > ms);

function rulesOf({ behavior }: HorizontalPodAutoscaler['spec'], direction: 'up' | 'down'): ScalingRules {
  if (direction === 'up') return { ...DEFAULT_SCALE_UP, ...behavior?.scaleUp };
  return { ...DEFAULT_SCALE_DOWN, ...behavior?.scaleDown };
}
