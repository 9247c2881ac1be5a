/** The API server's defaults for the spec of a pod or a pod template (pkg/apis/core/v1/defaults.go). */
import type { Container, PodSpec, Probe, Volume } from '../types/objects.ts';

export const DEFAULT_SCHEDULER = 'default-scheduler';

/** Of pods and templates (SetDefaults_PodSpec). */
export function podSpec(spec: PodSpec): PodSpec {
  return {
    ...spec,
    containers: spec.containers.map(container),
    ...(spec.initContainers && { initContainers: spec.initContainers.map(container) }),
    ...(spec.ephemeralContainers && { ephemeralContainers: spec.ephemeralContainers.map(container) }),
    ...(spec.volumes && { volumes: spec.volumes.map(volume) }),
    restartPolicy: spec.restartPolicy ?? 'Always',
    terminationGracePeriodSeconds: spec.terminationGracePeriodSeconds ?? 30,
    dnsPolicy: spec.dnsPolicy ?? 'ClusterFirst',
    securityContext: spec.securityContext ?? {},
    schedulerName: spec.schedulerName || DEFAULT_SCHEDULER,
  };
}

/**
 * Of a pod, not of a template (SetDefaults_Pod): a container that is limited and requests nothing requests its limit, and
 * in the node's network a port is the node's.
 */
export function ownDefaults(spec: PodSpec): PodSpec {
  const fill = (c: Container): Container => ({
    ...c,
    ...(c.resources?.limits && {
      resources: { ...c.resources, requests: { ...c.resources.limits, ...c.resources.requests } },
    }),
    ...(spec.hostNetwork &&
      c.ports && { ports: c.ports.map((p) => ({ ...p, hostPort: p.hostPort || p.containerPort })) }),
  });
  return {
    ...spec,
    containers: spec.containers.map(fill),
    ...(spec.initContainers && { initContainers: spec.initContainers.map(fill) }),
    enableServiceLinks: spec.enableServiceLinks ?? true,
  };
}

/** `name`, `name:latest` → Always; another tag or a digest → IfNotPresent. */
function pullPolicy(image: string): 'Always' | 'IfNotPresent' {
  if (image.includes('@')) return 'IfNotPresent';
  const tag = /:([^:/]+)$/.exec(image)?.[1] ?? 'latest';
  return tag === 'latest' ? 'Always' : 'IfNotPresent';
}

function container(c: Container): Container {
  return {
    ...c,
    // It is not a pointer in Go, so it is always there; JSON patches rely on it.
    resources: c.resources ?? {},
    imagePullPolicy: c.imagePullPolicy ?? pullPolicy(c.image),
    terminationMessagePath: c.terminationMessagePath ?? '/dev/termination-log',
    terminationMessagePolicy: c.terminationMessagePolicy ?? 'File',
    ...(c.ports && {
      ports: c.ports.map((p) => ({ ...p, protocol: p.protocol ?? 'TCP' })),
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
  if (v.downwardAPI) return { ...v, downwardAPI: { defaultMode: 0o644, ...v.downwardAPI } };
  if (v.projected) return { ...v, projected: { defaultMode: 0o644, ...v.projected } };
  if (Object.keys(v).length === 1) return { ...v, emptyDir: {} };
  if (v.hostPath) return { ...v, hostPath: { type: '', ...v.hostPath } };
  return v;
}
