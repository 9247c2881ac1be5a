/** What Kubernetes fills in for autoscalers (pkg/apis/autoscaling/v2/defaults.go). */
import type { HorizontalPodAutoscaler, MetricSpec, ScalingRules } from '../types/objects.ts';

const CPU: MetricSpec = {
  type: 'Resource',
  resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } },
};
const PERIOD_SECONDS = 15;

export const DEFAULT_SCALE_UP: ScalingRules = {
  stabilizationWindowSeconds: 0,
  selectPolicy: 'Max',
  policies: [
    { type: 'Pods', value: 4, periodSeconds: PERIOD_SECONDS },
    { type: 'Percent', value: 100, periodSeconds: PERIOD_SECONDS },
  ],
};

/** The window is the controller's own unless the object has one. */
export const DEFAULT_SCALE_DOWN: ScalingRules = {
  selectPolicy: 'Max',
  policies: [{ type: 'Percent', value: 100, periodSeconds: PERIOD_SECONDS }],
};

export function autoscalerDefaults(object: HorizontalPodAutoscaler): HorizontalPodAutoscaler {
  const { spec } = object;
  const { behavior } = spec;
  return {
    ...object,
    spec: {
      ...spec,
      minReplicas: spec.minReplicas ?? 1,
      metrics: spec.metrics?.length ? spec.metrics : [CPU],
      ...(behavior && {
        behavior: {
          scaleUp: { ...DEFAULT_SCALE_UP, ...behavior.scaleUp },
          scaleDown: { ...DEFAULT_SCALE_DOWN, ...behavior.scaleDown },
        },
      }),
    },
  };
}
