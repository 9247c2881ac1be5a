/** Rules of HorizontalPodAutoscaler (pkg/apis/autoscaling/validation). */
import type { FieldError } from '../errors.ts';
import { Quantity } from '../quantity.ts';
import type { HorizontalPodAutoscaler, MetricSpec, MetricTarget, ScalingRules } from '../types/objects.ts';
import { invalid, required } from './field-errors.ts';

const MAX_PERIOD_SECONDS = 1800;
const MAX_WINDOW_SECONDS = 3600;

/** Fields of a metric by its type. */
const SOURCES: Readonly<Record<string, string>> = {
  Resource: 'resource',
  ContainerResource: 'containerResource',
  Pods: 'pods',
  Object: 'object',
  External: 'external',
};

export function checkAutoscaler({ spec }: HorizontalPodAutoscaler): FieldError[] {
  const errors: FieldError[] = [];
  const { minReplicas = 1, maxReplicas, scaleTargetRef, behavior } = spec;
  if (minReplicas < 1) errors.push(invalid('spec.minReplicas', minReplicas, 'must be greater than or equal to 1'));
  if (maxReplicas < 1) errors.push(invalid('spec.maxReplicas', maxReplicas, 'must be greater than 0'));
  if (maxReplicas < minReplicas) {
    errors.push(invalid('spec.maxReplicas', maxReplicas, 'must be greater than or equal to `minReplicas`'));
  }
  for (const field of ['kind', 'name'] as const) {
    if (!scaleTargetRef?.[field]) errors.push(required(`spec.scaleTargetRef.${field}`, ''));
  }
  spec.metrics?.forEach((metric, i) => {
    checkMetric(metric, `spec.metrics[${i}]`, errors);
  });
  for (const direction of ['scaleUp', 'scaleDown'] as const) {
    const rules = behavior?.[direction];
    if (rules !== undefined) checkScalingRules(rules, `spec.behavior.${direction}`, errors);
  }
  return errors;
}

function checkMetric(metric: MetricSpec, path: string, errors: FieldError[]): void {
  const source = SOURCES[metric.type];
  if (source === undefined) return; // Its published type has refused it.
  if ((metric as unknown as Record<string, unknown>)[source] === undefined) {
    errors.push(required(`${path}.${source}`, `must populate information for the given metric source`));
    return;
  }
  const of = metric.resource ?? metric.containerResource;
  if (of === undefined) return;
  const at = `${path}.${source}`;
  if (!of.name) errors.push(required(`${at}.name`, 'must specify a resource name'));
  if (metric.type === 'ContainerResource' && !metric.containerResource?.container) {
    errors.push(required(`${at}.container`, 'must specify a container'));
  }
  checkTarget(of.target ?? {}, `${at}.target`, errors);
}

function checkTarget(target: Partial<MetricTarget>, path: string, errors: FieldError[]): void {
  const { averageUtilization, averageValue } = target;
  if (averageUtilization === undefined && averageValue === undefined) {
    errors.push(required(`${path}.averageUtilization`, 'must set either a target raw value or a target utilization'));
  }
  if (averageUtilization !== undefined && averageValue !== undefined) {
    const message = 'Forbidden: may not set both a target raw value and a target utilization';
    errors.push({ path: `${path}.averageValue`, message, reason: 'FieldValueForbidden' });
  }
  if (averageUtilization !== undefined && averageUtilization < 1) {
    errors.push(invalid(`${path}.averageUtilization`, averageUtilization, 'must be greater than 0'));
  }
  if (averageValue !== undefined && Quantity.from(averageValue).nanos <= 0n) {
    errors.push(invalid(`${path}.averageValue`, averageValue, 'must be positive'));
  }
}

function checkScalingRules(rules: ScalingRules, path: string, errors: FieldError[]): void {
  const { stabilizationWindowSeconds: window, policies = [] } = rules;
  if (window !== undefined && (window < 0 || window > MAX_WINDOW_SECONDS)) {
    const why =
      window < 0 ? 'must be greater than or equal to zero' : `must be less than or equal to ${MAX_WINDOW_SECONDS}`;
    errors.push(invalid(`${path}.stabilizationWindowSeconds`, window, why));
  }
  if (policies.length === 0) errors.push(required(`${path}.policies`, 'must specify at least one Policy'));
  policies.forEach(({ value, periodSeconds }, i) => {
    const at = `${path}.policies[${i}]`;
    if (value <= 0) errors.push(invalid(`${at}.value`, value, 'must be greater than zero'));
    if (periodSeconds <= 0) errors.push(invalid(`${at}.periodSeconds`, periodSeconds, 'must be greater than zero'));
    if (periodSeconds > MAX_PERIOD_SECONDS) {
      errors.push(invalid(`${at}.periodSeconds`, periodSeconds, `must be less than or equal to ${MAX_PERIOD_SECONDS}`));
    }
  });
}
