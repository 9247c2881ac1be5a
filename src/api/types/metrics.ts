/** Usage of nodes and pods (k8s.io/metrics v1beta1). */
import type { KubeObject } from './meta.ts';

interface Usage {
  cpu: string;
  memory: string;
}

export interface NodeMetrics extends KubeObject {
  timestamp: string;
  window: string;
  usage: Usage;
}

export interface PodMetrics extends KubeObject {
  timestamp: string;
  window: string;
  containers: { name: string; usage: Usage }[];
}
