/**
 * HorizontalPodAutoscalers: every fifteen seconds, and when one is created or changed, metrics are measured once for all
 * of them, and each target gets the replicas that they ask for (pkg/controller/podautoscaler).
 */
import type { UsageSource } from '../../api/metrics/usage.ts';
import { Quantity } from '../../api/quantity.ts';
import { qualifiedName, type Resource } from '../../api/resources.ts';
import { type ScaleFields, scaleFields, withReplicas } from '../../api/scale-fields.ts';
import { parseLabelSelector } from '../../api/selectors.ts';
import { nowText } from '../../api/store/store.ts';
import type {
  Condition,
  HorizontalPodAutoscaler,
  KubeObject,
  MetricSpec,
  PodMetrics,
  ScalingRules,
} from '../../api/types/objects.ts';
import { type Cluster, withCondition } from '../cluster.ts';
import { keyOf, splitKey, type WorkQueue } from '../work-queue.ts';
import { MetricsError, type Proposal, proposeReplicas, TOLERANCE } from './replica-calculator.ts';
import { ScalingHistory } from './scaling-history.ts';

const PERIOD_MS = 15_000;
/** Changes of autoscalers within so long share one measurement. */
const SOON_MS = 100;

export interface Autoscalers {
  close(): void;
}

export function startAutoscalers(cluster: Cluster, source: UsageSource, periodMs: number = PERIOD_MS): Autoscalers {
  return new Rounds(cluster, source, periodMs);
}

/** When to look at which autoscaler, and with what metrics. */
class Rounds implements Autoscalers {
  private readonly cluster: Cluster;
  private readonly source: UsageSource;
  private readonly queue: WorkQueue;
  private readonly histories = new Map<string, ScalingHistory>();
  private readonly timer: NodeJS.Timeout;
  private soon: NodeJS.Timeout | undefined;
  private changed = new Set<string>();
  /** By namespace and pod. */
  private metrics = new Map<string, Map<string, PodMetrics>>();

  constructor(cluster: Cluster, source: UsageSource, periodMs: number) {
    this.cluster = cluster;
    this.source = source;
    const { store } = cluster;
    this.queue = cluster.queue('autoscalers', (key) => this.reconcile(key));
    store.onCommit('HorizontalPodAutoscaler', ({ type, object, old }) => {
      const key = keyOf(object);
      if (type === 'DELETED') this.histories.delete(key);
      else if (JSON.stringify(object.spec) !== JSON.stringify(old?.spec)) this.lookSoon(key);
    });
    this.timer = setInterval(() => {
      void this.round(store.list('HorizontalPodAutoscaler').map(keyOf));
    }, periodMs);
    this.timer.unref();
    for (const object of store.list('HorizontalPodAutoscaler')) this.lookSoon(keyOf(object));
  }

  close(): void {
    clearInterval(this.timer);
    clearTimeout(this.soon);
  }

  private lookSoon(key: string): void {
    this.changed.add(key);
    this.soon ??= setTimeout(() => {
      const keys = [...this.changed];
      this.changed.clear();
      this.soon = undefined;
      void this.round(keys);
    }, SOON_MS).unref();
  }

  /** Without metrics the autoscalers are looked at as well: they report that. */
  private async round(keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return;
    const namespaces = new Set(keys.map((key) => splitKey(key)[0]));
    const [only] = namespaces;
    const found = await this.source.pods(namespaces.size === 1 ? only : undefined).catch(() => []);
    for (const namespace of namespaces) this.metrics.set(namespace, new Map());
    for (const pod of found) this.metrics.get(pod.metadata.namespace ?? '')?.set(pod.metadata.name, pod);
    for (const key of keys) this.queue.add(key);
  }

  private reconcile(key: string): void {
    const object = this.cluster.store.get('HorizontalPodAutoscaler', ...splitKey(key));
    if (object === undefined || object.metadata.deletionTimestamp !== undefined) return;
    const history = this.histories.get(key) ?? new ScalingHistory();
    this.histories.set(key, history);
    const metrics = this.metrics.get(splitKey(key)[0]) ?? new Map<string, PodMetrics>();
    new Autoscaling(this.cluster, object, history, metrics).run();
  }
}

interface Target {
  resource: Resource;
  object: KubeObject;
  fields: ScaleFields;
}

/** What one metric asks for, and what it is called in messages. */
interface Answer {
  replicas: number;
  name: string;
}

interface Failure {
  reason: string;
  message: string;
}

/** One look at one autoscaler. */
class Autoscaling {
  private readonly cluster: Cluster;
  private readonly object: HorizontalPodAutoscaler;
  private readonly history: ScalingHistory;
  private readonly metrics: ReadonlyMap<string, PodMetrics>;
  private readonly nowMs = Date.now();
  private conditions: Condition[];
  private measured: object[] = [];

  constructor(
    cluster: Cluster,
    object: HorizontalPodAutoscaler,
    history: ScalingHistory,
    metrics: ReadonlyMap<string, PodMetrics>,
  ) {
    this.cluster = cluster;
    this.object = object;
    this.history = history;
    this.metrics = metrics;
    this.conditions = object.status?.conditions ?? [];
  }

  run(): void {
    const { spec, status } = this.object;
    const { minReplicas = 1, maxReplicas } = spec;
    const target = this.target();
    if (typeof target === 'string') {
      const message = `the HPA controller was unable to get the target's current scale: ${target}`;
      this.set('AbleToScale', 'False', 'FailedGetScale', message);
      this.warn('FailedGetScale', target);
      this.write({ ...status });
      return;
    }
    this.set(
      'AbleToScale',
      'True',
      'SucceededGetScale',
      "the HPA controller was able to get the target's current scale",
    );
    const current = target.fields.specReplicas;
    const replicas = target.fields.statusReplicas;
    let desired = current;
    let why = '';
    if (current === 0) {
      this.set(
        'ScalingActive',
        'False',
        'ScalingDisabled',
        'scaling is disabled since the replica count of the target is zero',
      );
    } else if (current > maxReplicas) {
      desired = maxReplicas;
      why = 'Current number of replicas above Spec.MaxReplicas';
    } else if (current < minReplicas) {
      desired = minReplicas;
      why = 'Current number of replicas below Spec.MinReplicas';
    } else {
      const wanted = this.byMetrics(target, current);
      if (wanted === undefined) {
        this.write({ ...status, currentReplicas: replicas });
        return;
      }
      why = wanted.replicas > current ? `${wanted.name} above target` : 'All metrics below target';
      const stable = this.history.stabilize(spec, current, wanted.replicas, this.nowMs);
      this.set('AbleToScale', 'True', stable.reason, stable.message);
      const limited = this.history.limit(spec, current, stable.replicas, this.nowMs);
      const limits = limited.reason === 'DesiredWithinRange' ? 'False' : 'True';
      this.set('ScalingLimited', limits, limited.reason, limited.message);
      desired = limited.replicas;
    }
    const scaled = desired !== current && this.scale(target, current, desired, why);
    this.write({
      currentReplicas: replicas,
      desiredReplicas: desired,
      ...(this.measured.length > 0 && { currentMetrics: this.measured }),
      ...(scaled
        ? { lastScaleTime: nowText(this.nowMs) }
        : status?.lastScaleTime && { lastScaleTime: status.lastScaleTime }),
    });
  }

  /** The object to scale, or why there is none. */
  private target(): Target | string {
    const { registry, store } = this.cluster;
    const { scaleTargetRef: ref } = this.object.spec;
    const resource = registry.kinds.ofKind(ref.apiVersion ?? 'apps/v1', ref.kind);
    if (resource === undefined) {
      return `no matches for kind "${ref.kind}" in group "${(ref.apiVersion ?? '').split('/')[0]}"`;
    }
    const found: KubeObject | undefined = store.get(resource.key, this.object.metadata.namespace, ref.name);
    if (found === undefined) return `${qualifiedName(resource)} "${ref.name}" not found`;
    if (resource.scale === undefined) return `the server could not find the requested resource`;
    return { resource, object: found, fields: scaleFields(resource, found) };
  }

  /** The most that one of the metrics asks for; undefined, with conditions and events, if they cannot be relied on. */
  private byMetrics(target: Target, current: number): Answer | undefined {
    const { metrics = [] } = this.object.spec;
    let best: Answer | undefined;
    const failures: Failure[] = [];
    for (const metric of metrics) {
      const result = this.byMetric(metric, target, current);
      if ('reason' in result) failures.push(result);
      else if (best === undefined || result.replicas > best.replicas) best = result;
    }
    const [first] = failures;
    // With a metric missing, more replicas may be needed than the others say: never fewer.
    if (first !== undefined && (best === undefined || best.replicas < current)) {
      this.set(
        'ScalingActive',
        'False',
        first.reason,
        `the HPA was unable to compute the replica count: ${first.message}`,
      );
      for (const { reason, message } of failures) this.warn(reason, message);
      const all = `invalid metrics (${failures.length} invalid out of ${metrics.length}), first error is: ${first.message}`;
      this.warn('FailedComputeMetricsReplicas', all);
      return undefined;
    }
    const message = `the HPA was able to successfully calculate a replica count from ${best!.name}`;
    this.set('ScalingActive', 'True', 'ValidMetricFound', message);
    return best;
  }

  private byMetric(metric: MetricSpec, target: Target, current: number): Answer | Failure {
    const of = metric.containerResource ?? metric.resource;
    if (of === undefined) {
      const kind = metric.type === 'External' ? 'external' : 'custom';
      const message = `unable to get ${kind} metric: no ${kind} metrics API is served by this cluster`;
      return { reason: `FailedGet${metric.type}Metric`, message };
    }
    const { averageUtilization, averageValue } = of.target;
    const isUtilization = averageUtilization !== undefined;
    try {
      const proposal = proposeReplicas({
        resource: of.name,
        container: metric.containerResource?.container,
        target: isUtilization
          ? { utilization: averageUtilization }
          : { averageMillis: Quantity.from(averageValue).millis },
        current,
        pods: this.pods(target),
        metrics: this.metrics,
        nowMs: this.nowMs,
        tolerance: this.tolerance(),
      });
      this.measured.push(measuredOf(metric, proposal));
      const name = isUtilization ? `${of.name} resource utilization (percentage of request)` : `${of.name} resource`;
      return { replicas: proposal.replicas, name };
    } catch (error) {
      if (!(error instanceof MetricsError)) throw error;
      const what = isUtilization ? 'utilization' : 'usage';
      const reason = `FailedGet${metric.type}Metric`;
      return { reason, message: `failed to get ${of.name} ${what}: ${error.message}` };
    }
  }

  private pods({ fields }: Target) {
    const selects = parseLabelSelector(fields.selector ?? '');
    const pods = this.cluster.store.list('Pod', this.object.metadata.namespace);
    return selects === undefined ? [] : pods.filter(selects);
  }

  private tolerance(): { up: number; down: number } {
    const of = (rules: ScalingRules | undefined) =>
      rules?.tolerance === undefined ? TOLERANCE : Quantity.from(rules.tolerance).millis / 1000;
    const { behavior } = this.object.spec;
    return { up: of(behavior?.scaleUp), down: of(behavior?.scaleDown) };
  }

  private scale({ resource, object }: Target, from: number, to: number, why: string): boolean {
    const { registry, event } = this.cluster;
    registry.write(withReplicas(resource, object, to), object);
    this.set(
      'AbleToScale',
      'True',
      'SucceededRescale',
      `the HPA controller was able to update the target scale to ${to}`,
    );
    event(this.object, 'Normal', 'SuccessfulRescale', `New size: ${to}; reason: ${why}`);
    this.history.record(this.object.spec, from, to, this.nowMs);
    return true;
  }

  private set(type: string, status: 'True' | 'False', reason: string, message: string): void {
    this.conditions = withCondition(this.conditions, { type, status, reason, message });
  }

  private warn(reason: string, message: string): void {
    this.cluster.event(this.object, 'Warning', reason, message);
  }

  private write(status: NonNullable<HorizontalPodAutoscaler['status']>): void {
    const complete = { currentMetrics: null, desiredReplicas: 0, ...status, conditions: this.conditions };
    this.cluster.registry.write({ ...this.object, status: complete }, this.object);
  }
}

/** The metric as the status shows it. */
function measuredOf(
  { type, resource, containerResource }: MetricSpec,
  { averageMillis, utilization }: Proposal,
): object {
  const of = containerResource ?? resource!;
  const amount = of.name === 'cpu' ? Quantity.ofMillis(averageMillis) : Quantity.ofBytes(averageMillis / 1000);
  const current = {
    averageValue: String(amount),
    ...(utilization !== undefined && { averageUtilization: utilization }),
  };
  if (type === 'ContainerResource') {
    return { type, containerResource: { name: of.name, container: containerResource!.container, current } };
  }
  return { type, resource: { name: of.name, current } };
}
