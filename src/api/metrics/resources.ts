/** The kinds of metrics.k8s.io/v1beta1. Nothing of them is stored: they are measured when somebody asks. */
import type { Resource } from '../resources.ts';
import type { Columns } from '../tables/cells.ts';
import type { KubeObject, NodeMetrics, PodMetrics } from '../types/objects.ts';
import { totalOf } from './usage.ts';

const measured = (kind: string, plural: string, namespaced: boolean): Resource => ({
  kind: kind as Resource['kind'],
  key: kind as Resource['key'],
  group: 'metrics.k8s.io',
  version: 'v1beta1',
  plural,
  singular: '',
  shortNames: [],
  categories: [],
  namespaced,
  status: false,
  inert: false,
  readOnly: true,
});

export const NODE_METRICS: Resource = measured('NodeMetrics', 'nodes', false);
const POD_METRICS: Resource = measured('PodMetrics', 'pods', true);
export const METRICS_RESOURCES: readonly Resource[] = [NODE_METRICS, POD_METRICS];

/** As metrics-server's (pkg/api/table.go). */
export const METRICS_COLUMNS: Readonly<Record<string, Columns<KubeObject>>> = {
  NodeMetrics: {
    names: ['Name', 'cpu', 'memory', 'Window'],
    row: (object) => {
      const { metadata, usage, window } = object as NodeMetrics;
      return [metadata.name, usage.cpu, usage.memory, window];
    },
  },
  PodMetrics: {
    names: ['Name', 'cpu', 'memory', 'Window'],
    row: (object) => {
      const { metadata, window } = object as PodMetrics;
      const { cpu, memory } = totalOf(object as PodMetrics);
      return [metadata.name, String(cpu), String(memory), window];
    },
  },
};
