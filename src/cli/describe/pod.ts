/** A pod in full, in kubectl's layout (k8s.io/kubectl/pkg/describe, describePod). */
import {
  type Container,
  type ContainerState,
  type ContainerStatus,
  type Handler,
  type Pod,
  type Probe,
  type Volume,
  WellKnown,
} from '../../api/types/objects.ts';
import { type Block, block, type Line } from '../output/text.ts';

const pairs = (map: Record<string, string> | undefined, separator: string): readonly string[] => {
  const lines = Object.entries(map ?? {}).map(([key, value]) => `${key}${separator}${value}`);
  return lines.length === 0 ? ['<none>'] : lines;
};

/** RFC 1123 as kubectl prints times: Mon, 02 Jan 2006 15:04:05 +0000. */
export const printTime = (time: string | undefined): string =>
  time === undefined ? '<unset>' : new Date(time).toUTCString().replace('GMT', '+0000');

export const labelLines = (labels: Record<string, string> | undefined) => pairs(labels, '=');
export const annotationLines = (annotations: Record<string, string> | undefined) => {
  const { [WellKnown.LAST_APPLIED]: _, ...shown } = annotations ?? {};
  return pairs(shown, ': ');
};

export function describePod(pod: Pod): Block {
  const { metadata, spec, status } = pod;
  const initContainers = spec.initContainers ?? [];
  const node = spec.nodeName ? `${spec.nodeName}${status?.hostIP ? `/${status.hostIP}` : ''}` : '<none>';
  return block(
    ['Name', metadata.name],
    ['Namespace', metadata.namespace ?? ''],
    ['Node', node],
    ['Start Time', printTime(status?.startTime)],
    ['Labels', labelLines(metadata.labels)],
    ['Annotations', annotationLines(metadata.annotations)],
    metadata.deletionTimestamp === undefined
      ? ['Status', status?.phase ?? 'Unknown']
      : ['Status', `Terminating (lasts ${metadata.deletionGracePeriodSeconds ?? 0}s)`],
    status?.reason ? ['Reason', status.reason] : undefined,
    status?.message ? ['Message', status.message] : undefined,
    ['IP', status?.podIP ?? ''],
    ['IPs', block(...ipLines(pod))],
    ownerLine(pod),
    initContainers.length > 0
      ? ['Init Containers', containers(initContainers, status?.initContainerStatuses)]
      : undefined,
    ['Containers', containers(spec.containers, status?.containerStatuses)],
    spec.ephemeralContainers?.length
      ? ['Ephemeral Containers', containers(spec.ephemeralContainers, status?.ephemeralContainerStatuses)]
      : undefined,
    ['Conditions', block(...(status?.conditions ?? []).map((c): Line => [c.type, conditionText(c)]))],
    spec.volumes?.length ? ['Volumes', block(...spec.volumes.map((v): Line => [v.name, volume(v)]))] : undefined,
    ['QoS Class', status?.qosClass ?? ''],
    ['Node-Selectors', labelLines(spec.nodeSelector)],
    ['Restart Policy', spec.restartPolicy ?? 'Always'],
  );
}

const ipLines = (pod: Pod): Line[] => (pod.status?.podIPs ?? []).map(({ ip }): Line => ['IP', ip]);

const conditionText = ({ status, reason, message }: { status: string; reason?: string; message?: string }) =>
  [status, reason && `(${reason}${message ? `: ${message}` : ''})`].filter(Boolean).join('  ');

function ownerLine({ metadata }: Pod): Line | undefined {
  const owner = metadata.ownerReferences?.find(({ controller }) => controller);
  return owner === undefined ? undefined : ['Controlled By', `${owner.kind}/${owner.name}`];
}

function containers(all: readonly Container[], statuses: readonly ContainerStatus[] | undefined): Block {
  return block(
    ...all.map((container): Line => {
      const status = statuses?.find(({ name }) => name === container.name);
      return [container.name, describeContainer(container, status)];
    }),
  );
}

function describeContainer(container: Container, status: ContainerStatus | undefined): Block {
  const { ports = [], env = [], volumeMounts = [], command, args } = container;
  return block(
    ['Container ID', status?.containerID ?? ''],
    ['Image', container.image],
    ports.length > 0
      ? [ports.length > 1 ? 'Ports' : 'Port', ports.map((p) => `${p.containerPort}/${p.protocol ?? 'TCP'}`).join(', ')]
      : ['Port', '<none>'],
    hostPortLine(ports),
    command ? ['Command', command] : undefined,
    args ? ['Args', args] : undefined,
    ...state('State', status?.state),
    ...(status?.lastState && Object.keys(status.lastState).length > 0 ? state('Last State', status.lastState) : []),
    ['Ready', status?.ready ? 'True' : 'False'],
    ['Restart Count', String(status?.restartCount ?? 0)],
    probe('Liveness', container.livenessProbe),
    probe('Readiness', container.readinessProbe),
    probe('Startup', container.startupProbe),
    env.length === 0
      ? ['Environment', '<none>']
      : ['Environment', block(...env.map((e): Line => [e.name, e.value ?? source(e.valueFrom)]))],
    volumeMounts.length === 0
      ? ['Mounts', '<none>']
      : ['Mounts', volumeMounts.map((m) => `${m.mountPath} from ${m.name} (${mountFlags(m)})`)],
  );
}

/** As kubectl prints them, with 0 for a port without hostPort; the hostIP is added. */
function hostPortLine(ports: NonNullable<Container['ports']>): Line {
  if (ports.every(({ hostPort }) => !hostPort)) return ['Host Port', '<none>'];
  const text = ports.map(
    ({ hostIP, hostPort = 0, protocol = 'TCP' }) => `${hostIP && hostPort ? `${hostIP}:` : ''}${hostPort}/${protocol}`,
  );
  return [ports.length > 1 ? 'Host Ports' : 'Host Port', text.join(', ')];
}

const mountFlags = ({ readOnly, subPath }: { readOnly?: boolean; subPath?: string }) =>
  [readOnly ? 'ro' : 'rw', subPath && `path="${subPath}"`].filter(Boolean).join(',');

function source(from: NonNullable<Container['env']>[number]['valueFrom']): string {
  if (from?.fieldRef) return `(${from.fieldRef.fieldPath})`;
  if (from?.configMapKeyRef)
    return `<set to the key '${from.configMapKeyRef.key}' of config map '${from.configMapKeyRef.name}'>`;
  if (from?.secretKeyRef) return `<set to the key '${from.secretKeyRef.key}' in secret '${from.secretKeyRef.name}'>`;
  return '';
}

function state(title: string, now: ContainerState | undefined): (Line | undefined)[] {
  if (now?.running)
    return [
      [title, 'Running'],
      ['  Started', printTime(now.running.startedAt)],
    ];
  if (now?.terminated) {
    const { reason, exitCode, signal, message, startedAt, finishedAt } = now.terminated;
    return [
      [title, 'Terminated'],
      reason ? ['  Reason', reason] : undefined,
      message ? ['  Message', message] : undefined,
      ['  Exit Code', String(exitCode)],
      signal ? ['  Signal', String(signal)] : undefined,
      ['  Started', printTime(startedAt)],
      ['  Finished', printTime(finishedAt)],
    ];
  }
  const { reason, message } = now?.waiting ?? {};
  return [[title, 'Waiting'], reason ? ['  Reason', reason] : undefined, message ? ['  Message', message] : undefined];
}

function probe(name: string, given: Probe | undefined): Line | undefined {
  if (given === undefined) return undefined;
  const timing = [
    `delay=${given.initialDelaySeconds ?? 0}s`,
    `timeout=${given.timeoutSeconds ?? 1}s`,
    `period=${given.periodSeconds ?? 10}s`,
    `#success=${given.successThreshold ?? 1}`,
    `#failure=${given.failureThreshold ?? 3}`,
  ];
  return [name, `${handler(given)} ${timing.join(' ')}`];
}

function handler({ exec, httpGet, tcpSocket }: Handler): string {
  if (exec) return `exec [${exec.command.join(' ')}]`;
  if (httpGet)
    return `http-get ${(httpGet.scheme ?? 'HTTP').toLowerCase()}://${httpGet.host ?? ''}:${httpGet.port}${httpGet.path ?? '/'}`;
  return tcpSocket ? `tcp-socket ${tcpSocket.host ?? ''}:${tcpSocket.port}` : 'unknown';
}

function volume({ configMap, secret, emptyDir, hostPath }: Volume): Block {
  if (configMap) return block(['Type', 'ConfigMap (a volume populated by a ConfigMap)'], ['Name', configMap.name]);
  if (secret) return block(['Type', 'Secret (a volume populated by a Secret)'], ['SecretName', secret.secretName]);
  if (hostPath) return block(['Type', 'HostPath (bare host directory volume)'], ['Path', hostPath.path]);
  return block(
    ['Type', "EmptyDir (a temporary directory that shares a pod's lifetime)"],
    ['Medium', emptyDir?.medium ?? ''],
  );
}
