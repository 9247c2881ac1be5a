/** What Kubernetes fills in where a manifest is silent (k8s.io/kubernetes/pkg/apis/core/v1/defaults.go and its kin). */
import { isExternallyAccessible } from '../rules/network.ts';
import type {
  Container,
  Deployment,
  EndpointSlice,
  Endpoints,
  KubeObject,
  NamespaceObject,
  Pod,
  PodSpec,
  Probe,
  ReplicaSet,
  Secret,
  Service,
  ServiceSpec,
  Volume,
} from '../types/objects.ts';

/** The object with defaults; `object` itself is not changed. Its schema is known to hold. */
export function withDefaults<T extends KubeObject>(object: T): T {
  return defaulted(object) as T;
}

function defaulted(object: KubeObject): KubeObject {
  switch (object.kind) {
    case 'Pod': {
      const pod = object as Pod;
      return {
        ...pod,
        spec: podSpec(pod.spec),
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
      const labels = { ...metadata.labels, 'kubernetes.io/metadata.name': metadata.name };
      return {
        ...rest,
        metadata: { ...metadata, labels },
        spec: { finalizers: ['kubernetes'], ...spec },
        status: { phase: 'Active', ...status },
      } as NamespaceObject;
    }
    case 'ReplicaSet': {
      const set = object as ReplicaSet;
      const template = { ...set.spec.template, spec: podSpec(set.spec.template.spec) };
      return { ...set, spec: { ...set.spec, replicas: set.spec.replicas ?? 1, template } } as ReplicaSet;
    }
    case 'Deployment':
      return deployment(object as Deployment);
    default:
      return object;
  }
}

function deployment(object: Deployment): Deployment {
  const { spec } = object;
  const type = spec.strategy?.type ?? 'RollingUpdate';
  const rolling = { maxSurge: '25%', maxUnavailable: '25%', ...spec.strategy?.rollingUpdate };
  return {
    ...object,
    spec: {
      ...spec,
      replicas: spec.replicas ?? 1,
      revisionHistoryLimit: spec.revisionHistoryLimit ?? 10,
      progressDeadlineSeconds: spec.progressDeadlineSeconds ?? 600,
      strategy: type === 'RollingUpdate' ? { type, rollingUpdate: rolling } : { type },
      template: { ...spec.template, spec: podSpec(spec.template.spec) },
    },
  };
}

function podSpec(spec: PodSpec): PodSpec {
  return {
    ...spec,
    containers: spec.containers.map((c) => container(c, spec.hostNetwork === true)),
    ...(spec.initContainers && { initContainers: spec.initContainers.map((c) => container(c, false)) }),
    ...(spec.volumes && { volumes: spec.volumes.map(volume) }),
    restartPolicy: spec.restartPolicy ?? 'Always',
    terminationGracePeriodSeconds: spec.terminationGracePeriodSeconds ?? 30,
    dnsPolicy: spec.dnsPolicy ?? 'ClusterFirst',
    enableServiceLinks: spec.enableServiceLinks ?? true,
  };
}

/** `name`, `name:latest` → Always; another tag or a digest → IfNotPresent. */
function pullPolicy(image: string): 'Always' | 'IfNotPresent' {
  if (image.includes('@')) return 'IfNotPresent';
  const tag = /:([^:/]+)$/.exec(image)?.[1] ?? 'latest';
  return tag === 'latest' ? 'Always' : 'IfNotPresent';
}

function container(c: Container, hostNetwork: boolean): Container {
  return {
    ...c,
    imagePullPolicy: c.imagePullPolicy ?? pullPolicy(c.image),
    terminationMessagePath: c.terminationMessagePath ?? '/dev/termination-log',
    terminationMessagePolicy: c.terminationMessagePolicy ?? 'File',
    ...(c.ports && {
      ports: c.ports.map((p) => ({
        ...p,
        protocol: p.protocol ?? 'TCP',
        ...(hostNetwork && { hostPort: p.hostPort ?? p.containerPort }),
      })),
    }),
    ...(c.livenessProbe && { livenessProbe: probe(c.livenessProbe) }),
    ...(c.readinessProbe && { readinessProbe: probe(c.readinessProbe) }),
    ...(c.startupProbe && { startupProbe: probe(c.startupProbe) }),
  };
}

function probe(p: Probe): Probe {
  return {
    ...p,
    timeoutSeconds: p.timeoutSeconds ?? 1,
    periodSeconds: p.periodSeconds ?? 10,
    successThreshold: p.successThreshold ?? 1,
    failureThreshold: p.failureThreshold ?? 3,
    ...(p.httpGet && { httpGet: { path: '/', scheme: 'HTTP' as const, ...p.httpGet } }),
  };
}

function volume(v: Volume): Volume {
  if (v.configMap) return { ...v, configMap: { defaultMode: 0o644, ...v.configMap } };
  if (v.secret) return { ...v, secret: { defaultMode: 0o644, ...v.secret } };
  if (v.hostPath) return { ...v, hostPath: { type: '', ...v.hostPath } };
  return v;
}

/** Three hours: kube-proxy's and the API's default (core/v1 DefaultClientIPServiceAffinitySeconds). */
const AFFINITY_SECONDS = 10800;

function serviceSpec(spec: ServiceSpec): ServiceSpec {
  const type = spec.type ?? 'ClusterIP';
  const sessionAffinity = spec.sessionAffinity ?? 'None';
  const typed: ServiceSpec = { ...spec, type, sessionAffinity };
  if (spec.ports) {
    typed.ports = spec.ports.map((p) => ({ ...p, protocol: p.protocol ?? 'TCP', targetPort: p.targetPort ?? p.port }));
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
