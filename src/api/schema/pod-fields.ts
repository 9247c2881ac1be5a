/**
 * What becomes of every field of a pod's spec: docs/pod-fields.md. Derived from the schema by which manifests are checked
 * (pod.ts), which also produces the warnings, and from the published types, which have all fields. Only the notes are here.
 */
import { type PublishedField, publishedType } from '../published/types.ts';
import { type Schema, SHARED } from './fields.ts';
import { podSpec } from './pod.ts';

const CORE = 'k8s.io.api.core.v1.';

export type FieldState = 'acted upon' | 'stored' | 'refused';

export interface FieldRow {
  /** Name of the type in the Kubernetes API, such as `PodSpec`. */
  type: string;
  field: string;
  state: FieldState;
  note: string;
}

/** By type and field. */
export const NOTES: Readonly<Record<string, string>> = {
  'PodSpec.activeDeadlineSeconds': 'The pod fails with `DeadlineExceeded`.',
  'PodSpec.dnsPolicy': 'With `hostNetwork`, `ClusterFirst` means `Default`.',
  'PodSpec.ephemeralContainers': 'Added to a running pod, by `kubectl debug`.',
  'PodSpec.hostIPC': 'The IPC namespace of the node’s agent.',
  'PodSpec.hostNetwork': 'The network namespace of the node; the address, the host name and `/etc/hosts` are its too.',
  'PodSpec.hostPID': 'The processes of the machine, which all nodes of `dataplane up` share.',
  'PodSpec.hostUsers': 'There are no user namespaces.',
  'PodSpec.imagePullSecrets': 'Images are loaded, or pulled with the credentials of the host (images.md).',
  'PodSpec.initContainers': 'With `restartPolicy: Always` a sidecar.',
  'PodSpec.os': 'Every pod is a Linux pod.',
  'PodSpec.overhead': 'Counts in quotas and when pods are placed.',
  'PodSpec.priority':
    'Pods that wait are placed in its order; where there is no room, pods of lower priority are removed.',
  'PodSpec.priorityClassName': 'As `priority`.',
  'PodSpec.resources': 'Use those of the containers.',
  'PodSpec.restartPolicy': 'Of sidecars it is always `Always`.',
  'PodSpec.schedulerName': 'A pod that names another scheduler is left to that.',
  'PodSpec.serviceAccount': 'Another name of `serviceAccountName`.',
  'PodSpec.shareProcessNamespace': 'Process 1 is that of the sandbox.',
  'PodSecurityContext.fsGroup': 'Group of emptyDirs and of volumes filled from objects; claimed volumes keep theirs.',
  'PodSecurityContext.fsGroupChangePolicy': 'Claimed volumes keep their owners, whatever its value.',
  'PodSecurityContext.seccompProfile':
    'Of `RuntimeDefault` a profile of our own; with `Localhost` a container does not start.',
  'Container.imagePullPolicy':
    '`Never` reports a missing image in its own way; `Always` does not ask a registry (images.md).',
  'Container.ports': 'They need not be declared, except with `up --port-policy declared`.',
  'Container.resources': 'By control groups, where the machine has them: see `dataplane status`.',
  'Container.restartPolicy': 'Of init containers only.',
  'Container.tty': 'A terminal of the container’s own.',
  'SecurityContext.privileged': 'All capabilities; devices, mounts and namespaces are those of every container.',
  'SecurityContext.seccompProfile': 'As that of the pod.',
  'ResourceRequirements.limits':
    '`cpu`, `memory`, `ephemeral-storage` (logs and emptyDirs). Files outside of volumes count as memory.',
  'ResourceRequirements.requests':
    '`cpu`: share of the processor. All of them count when pods are placed, and in quotas.',
  'EmptyDirVolumeSource.medium': 'Both kinds are in memory, and count as memory of the container that writes.',
  'EmptyDirVolumeSource.sizeLimit': 'The pod is evicted, or, with `medium: Memory`, the volume is full.',
  'HostPathVolumeSource.type': '`Directory`, `File` and the two that create; `Socket` and devices are not checked.',
  'PersistentVolumeClaimVolumeSource.claimName': 'Bound to a volume of kind hostPath or local.',
  'VolumeMount.mountPropagation': 'Mounts inside a container stay there.',
  'TopologySpreadConstraint.nodeTaintsPolicy': 'As with `Ignore`, the default.',
  'ObjectFieldSelector.apiVersion': '`v1` is the only one.',
  'HTTPGetAction.scheme': 'Certificates are not verified, as in Kubernetes.',
};

const STATES: Readonly<Record<FieldState, string>> = {
  'acted upon': 'It does what it does in Kubernetes; the note says where not.',
  stored: 'It is checked against its type, kept and shown. It has no effect, which a warning reports.',
  refused: 'A manifest with it is an error.',
};

/** Every field of PodSpec, and of the types below it whose fields the schema distinguishes. */
export function podFieldRows(): FieldRow[] {
  const rows: FieldRow[] = [];
  const seen = new Set<string>();
  const queue: [type: string, schema: Schema][] = [[`${CORE}PodSpec`, resolved(podSpec)]];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const [type, schema] = next;
    if (seen.has(type)) continue;
    seen.add(type);
    const name = type.slice(CORE.length);
    for (const [field, published] of publishedType(type).fields) {
      const own = schema.properties?.[field];
      const state = own === undefined ? 'refused' : own.unsupported ? 'stored' : 'acted upon';
      rows.push({ type: name, field, state, note: NOTES[`${name}.${field}`] ?? generalNote(name, state) });
      const inner = state === 'acted upon' ? elementOf(own!, published) : undefined;
      if (inner?.properties !== undefined && published.type.startsWith(CORE)) queue.push([published.type, inner]);
    }
  }
  return rows;
}

const generalNote = (type: string, state: FieldState): string =>
  type === 'Volume' && state === 'stored' ? 'An empty directory is mounted instead.' : '';

/** The schema of a value of the field's type: of the elements of a list or map. */
function elementOf(schema: Schema, { list, map }: PublishedField): Schema | undefined {
  const whole = resolved(schema);
  if (list) return whole.items && resolved(whole.items);
  if (map) return typeof whole.additionalProperties === 'object' ? resolved(whole.additionalProperties) : undefined;
  return whole;
}

const resolved = (schema: Schema): Schema => (typeof schema.$ref === 'string' ? SHARED[schema.$ref]! : schema);

export function podFieldsAsMarkdown(): string {
  const rows = podFieldRows();
  const types = [...new Set(rows.map(({ type }) => type))];
  const count = (state: FieldState) => rows.filter((row) => row.state === state).length;
  const states = (Object.entries(STATES) as [FieldState, string][]).filter(([state]) => count(state) > 0);
  return [
    '# Fields of a pod',
    '',
    'What becomes of every field of `spec` of a Pod, and of the template in a workload. Generated by `npm run docs` from the schema that',
    'checks manifests and produces the warnings.',
    '',
    '| state | means | fields |',
    '| --- | --- | --- |',
    ...states.map(([state, text]) => `| ${state} | ${text} | ${count(state)} |`),
    '',
    ...types.flatMap((type) => [
      `## ${type}`,
      '',
      '| field | state | note |',
      '| --- | --- | --- |',
      ...rows
        .filter((row) => row.type === type)
        .map(({ field, state, note }) => `| \`${field}\` | ${state} | ${note.replaceAll('|', '\\|')} |`),
      '',
    ]),
  ].join('\n');
}
