/** The API server's defaults for fields that a manifest omits (k8s.io/kubernetes/pkg/apis/{core,…}/v1/defaults.go). */
import { namespaceLabels } from '../namespace-labels.ts';
import { isExternallyAccessible } from '../rules/network.ts';
import type {
  EndpointSlice,
  Endpoints,
  HorizontalPodAutoscaler,
  Ingress,
  KubeObject,
  LimitRange,
  NamespaceObject,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  PriorityClass,
  Secret,
  Service,
  ServiceSpec,
  StorageClass,
} from '../types/objects.ts';
import { autoscalerDefaults } from './autoscaler-defaults.ts';
import { limitDefaults } from './limit-defaults.ts';
import { ownDefaults, podSpec } from './pod-defaults.ts';
import { claimDefaults, classDefaults, volumeDefaults } from './storage-defaults.ts';
import { workloadDefaults } from './workload-defaults.ts';

/** The object with defaults; `object` itself is not changed. It must have passed its schema. */
export function withDefaults<T extends KubeObject>(object: T): T {
  return defaulted(object) as T;
}

function defaulted(object: KubeObject): KubeObject {
  switch (object.kind) {
    case 'Pod': {
      const pod = object as Pod;
      return {
        ...pod,
        spec: ownDefaults(podSpec(pod.spec)),
        status: { ...pod.status, phase: pod.status?.phase ?? 'Pending' },
      } as Pod;
    }
    case 'Service': {
      const service = object as Service;
      return {
        ...service,
        spec: serviceSpec(service.spec),
        status: { loadBalancer: {}, ...service.status },
      } as Service;
    }
    case 'Endpoints': {
      const endpoints = object as Endpoints;
      if (endpoints.subsets === undefined) return endpoints;
      const subsets = endpoints.subsets.map((s) =>
        s.ports === undefined ? s : { ...s, ports: s.ports.map((p) => ({ ...p, protocol: p.protocol ?? 'TCP' })) },
      );
      return { ...endpoints, subsets } as Endpoints;
    }
    case 'EndpointSlice': {
      const slice = object as EndpointSlice;
      const ports = slice.ports?.map((p) => ({ ...p, name: p.name ?? '', protocol: p.protocol ?? 'TCP' }));
      return { ...slice, ...(ports && { ports }) } as EndpointSlice;
    }
    case 'Secret': {
      const { stringData, ...secret } = object as Secret & { stringData?: Record<string, string> };
      const texts = Object.entries(stringData ?? {}).map(([k, v]) => [k, Buffer.from(v).toString('base64')]);
      const data = stringData === undefined ? secret.data : { ...secret.data, ...Object.fromEntries(texts) };
      return { ...secret, type: secret.type ?? 'Opaque', ...(data && { data }) } as Secret;
    }
    case 'Namespace': {
      const { metadata, spec, status, ...rest } = object as NamespaceObject;
      return {
        ...rest,
        metadata: { ...metadata, labels: namespaceLabels(metadata) },
        spec: { finalizers: ['kubernetes'], ...spec },
        status: { phase: 'Active', ...status },
      } as NamespaceObject;
    }
    case 'LimitRange':
      return limitDefaults(object as LimitRange);
    case 'PersistentVolumeClaim':
      return claimDefaults(object as PersistentVolumeClaim);
    case 'PersistentVolume':
      return volumeDefaults(object as PersistentVolume);
    case 'StorageClass':
      return classDefaults(object as StorageClass);
    case 'Ingress':
      return { ...object, status: { loadBalancer: {}, ...(object as Ingress).status } } as Ingress;
    case 'PriorityClass':
      return { preemptionPolicy: 'PreemptLowerPriority', ...object } as PriorityClass;
    case 'HorizontalPodAutoscaler':
      return autoscalerDefaults(object as HorizontalPodAutoscaler);
    default:
      return workloadDefaults(object);
  }
}

/** Three hours: kube-proxy's and the API's default (core/v1 DefaultClientIPServiceAffinitySeconds). */
const AFFINITY_SECONDS = 10800;

function serviceSpec(spec: ServiceSpec): ServiceSpec {
  const type = spec.type ?? 'ClusterIP';
  const sessionAffinity = spec.sessionAffinity ?? 'None';
  const typed: ServiceSpec = { ...spec, type, sessionAffinity };
  if (spec.ports) {
    typed.ports = spec.ports.map((p) => ({ ...p, protocol: p.protocol ?? 'TCP', targetPort: p.targetPort || p.port }));
  }
  if (sessionAffinity === 'ClientIP') {
    const timeoutSeconds = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? AFFINITY_SECONDS;
    typed.sessionAffinityConfig = { clientIP: { timeoutSeconds } };
  }
  if (isExternallyAccessible(typed)) typed.externalTrafficPolicy ??= 'Cluster';
  if (type !== 'ExternalName') typed.internalTrafficPolicy ??= 'Cluster';
  if (type === 'LoadBalancer') typed.allocateLoadBalancerNodePorts ??= true;
  return typed;
}
