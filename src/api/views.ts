/**
 * Kinds that are served in two versions and stored in one, with the conversions of k8s.io/kubernetes/pkg/apis. `read`
 * converts from the stored version, `write` to it.
 */
import type { KubeObject } from './types/objects.ts';

export interface View {
  read(stored: KubeObject): KubeObject;
  write(given: Json): Json;
}

type Json = Record<string, unknown>;

/** Renames members; members without a new name are kept. */
function renamed(object: Json, names: Readonly<Record<string, string>>): Json {
  const result: Json = {};
  for (const [name, value] of Object.entries(object)) result[names[name] ?? name] = value;
  return result;
}

/** core/v1 Event → events.k8s.io/v1 Event (pkg/apis/events/v1/conversion.go). */
const EVENT_NAMES: Readonly<Record<string, string>> = {
  involvedObject: 'regarding',
  message: 'note',
  source: 'deprecatedSource',
  firstTimestamp: 'deprecatedFirstTimestamp',
  lastTimestamp: 'deprecatedLastTimestamp',
  count: 'deprecatedCount',
  reportingComponent: 'reportingController',
};
const reversed = (names: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(names).map(([from, to]) => [to, from]));
const CORE_NAMES = reversed(EVENT_NAMES);

export const EVENTS_V1: View = {
  read: (stored) => renamed({ ...stored, apiVersion: 'events.k8s.io/v1' }, EVENT_NAMES) as unknown as KubeObject,
  write: (given) => renamed({ ...given, apiVersion: 'v1' }, CORE_NAMES),
};

interface Metric {
  type: string;
  resource?: { name?: string; target?: Json; current?: Json };
}

/** Where autoscaling/v1 keeps the metrics that it has no fields for (pkg/apis/autoscaling/annotations.go). */
const OTHER_METRICS = 'autoscaling.alpha.kubernetes.io/metrics';

const isCpu = ({ type, resource }: Metric) => type === 'Resource' && resource?.name === 'cpu';
const listOf = (value: unknown): Metric[] => (Array.isArray(value) ? (value as Metric[]) : []);

/** autoscaling/v2 ↔ autoscaling/v1 (pkg/apis/autoscaling/v1/conversion.go). */
export const AUTOSCALING_V1: View = {
  read(stored) {
    const { spec = {}, status, ...rest } = stored as unknown as { spec?: Json; status?: Json } & KubeObject;
    const { metrics, behavior, ...plain } = spec as Json & { metrics?: unknown };
    const cpu = listOf(metrics).find((m) => isCpu(m) && m.resource?.target?.averageUtilization !== undefined);
    const others = listOf(metrics).filter((m) => m !== cpu);
    const measured = listOf((status as Json | undefined)?.currentMetrics).find(isCpu)?.resource?.current;
    const { currentMetrics, conditions, ...plainStatus } = (status ?? {}) as Json;
    const annotations = {
      ...rest.metadata.annotations,
      ...(others.length > 0 && { [OTHER_METRICS]: JSON.stringify(others) }),
    };
    return {
      ...rest,
      apiVersion: 'autoscaling/v1',
      metadata: { ...rest.metadata, ...(Object.keys(annotations).length > 0 && { annotations }) },
      spec: { ...plain, ...(cpu && { targetCPUUtilizationPercentage: cpu.resource!.target!.averageUtilization }) },
      ...(status !== undefined && {
        status: {
          ...plainStatus,
          ...(measured?.averageUtilization !== undefined && {
            currentCPUUtilizationPercentage: measured.averageUtilization,
          }),
        },
      }),
    } as KubeObject;
  },
  write(given) {
    const { targetCPUUtilizationPercentage: percent, ...spec } = (given.spec ?? {}) as Json;
    const { [OTHER_METRICS]: text, ...annotations } = ((given.metadata as Json | undefined)?.annotations ?? {}) as Json;
    const cpu = {
      type: 'Resource',
      resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: percent } },
    };
    const metrics = [...(percent === undefined ? [] : [cpu]), ...othersOf(text)];
    const { currentCPUUtilizationPercentage: _measured, ...status } = (given.status ?? {}) as Json;
    return {
      ...given,
      apiVersion: 'autoscaling/v2',
      metadata: { ...(given.metadata as Json), ...(text !== undefined && { annotations }) },
      spec: { ...spec, ...(metrics.length > 0 && { metrics }) },
      ...(given.status !== undefined && { status }),
    };
  },
};

/** The metrics in the annotation. Users may write it, so anything that is not a list of metrics is ignored. */
function othersOf(text: unknown): Metric[] {
  try {
    return listOf(JSON.parse(String(text)));
  } catch {
    return [];
  }
}
