/**
 * Columns of all other kinds, as in kubectl (k8s.io/kubernetes/pkg/printers/internalversion). A cell is read by its
 * path in the object (`path-cells.ts`), or made by a function.
 */
import type { Kind, KubeObject } from '../types/objects.ts';
import { printAge } from './age.ts';
import { type Columns, firstThree, joined, NONE, orNone, UNSET } from './cells.ts';
import {
  age,
  at,
  containers,
  count,
  created,
  flag,
  images,
  type Json,
  labels,
  list,
  name,
  names,
  number,
  type Read,
  selector,
  since,
  table,
  text,
} from './path-cells.ts';

const ACCESS_MODES: Readonly<Record<string, string>> = {
  ReadWriteOnce: 'RWO',
  ReadOnlyMany: 'ROX',
  ReadWriteMany: 'RWX',
  ReadWriteOncePod: 'RWOP',
};
const accessModes =
  (path: string): Read =>
  (o) =>
    ((at(o, path) as string[] | undefined) ?? []).map((mode) => ACCESS_MODES[mode] ?? mode).join(',');

/** `requests.cpu: 0/4`, either for the limits or for everything else. */
const quota =
  (limits: boolean): Read =>
  (o) =>
    Object.entries((at(o, 'status.hard') ?? at(o, 'spec.hard') ?? {}) as Json)
      .filter(([resource]) => resource.startsWith('limits.') === limits)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([resource, hard]) => `${resource}: ${(at(o, 'status.used') as Json | undefined)?.[resource] ?? 0}/${hard}`)
      .join(', ');

const subjects =
  (kind: string): Read =>
  (o) =>
    list(o, 'subjects')
      .filter((subject) => subject.kind === kind)
      .map((subject) => (kind === 'ServiceAccount' ? `${subject.namespace}/${subject.name}` : String(subject.name)))
      .join(', ');

const role: Read = (o) => `${at(o, 'roleRef.kind')}/${at(o, 'roleRef.name')}`;

const jobStatus: Read = (o) => {
  const isTrue = (type: string) => list(o, 'status.conditions').some((c) => c.type === type && c.status === 'True');
  const ended = ['Complete', 'Failed'].find(isTrue);
  if (ended !== undefined) return ended;
  if (at(o, 'metadata.deletionTimestamp') !== undefined) return 'Terminating';
  return ['Suspended', 'FailureTarget', 'SuccessCriteriaMet'].find(isTrue) ?? 'Running';
};

const completions: Read = (o) => {
  const done = at(o, 'status.succeeded') ?? 0;
  const wanted = at(o, 'spec.completions');
  if (wanted !== undefined) return `${done}/${wanted}`;
  const parallelism = Number(at(o, 'spec.parallelism') ?? 0);
  return parallelism > 1 ? `${done}/1 of ${parallelism}` : `${done}/1`;
};

const jobDuration: Read = (o, nowMs) => {
  const start = at(o, 'status.startTime') as string | undefined;
  if (start === undefined) return '';
  const end = at(o, 'status.completionTime') as string | undefined;
  return printAge((end === undefined ? nowMs : Date.parse(end)) - Date.parse(start));
};

/** `cpu: 12%/80%`, with `<unknown>` for a metric that has not been measured. */
const targets: Read = (o) => {
  const measured = list(o, 'status.currentMetrics');
  const cells = list(o, 'spec.metrics').map((metric, i) => {
    const type = String(metric.type);
    const key = type.charAt(0).toLowerCase() + type.slice(1);
    const label = type === 'Resource' ? `${at(metric, 'resource.name')}: ` : '';
    const now = at(measured[i], `${key}.current`) as Json | undefined;
    const utilization = at(metric, `${key}.target.averageUtilization`);
    if (utilization !== undefined) {
      const current = now?.averageUtilization;
      return `${label}${current === undefined ? '<unknown>' : `${current}%`}/${utilization}%`;
    }
    const average = at(metric, `${key}.target.averageValue`);
    const value = average ?? at(metric, `${key}.target.value`);
    const current = average === undefined ? now?.value : now?.averageValue;
    return `${label}${current ?? '<unknown>'}/${value}${average === undefined ? '' : ' (avg)'}`;
  });
  return joined(cells);
};

const ingressHosts: Read = (o) => {
  const hosts = list(o, 'spec.rules')
    .map((rule) => (rule.host as string | undefined) ?? '')
    .filter(Boolean);
  return firstThree([...new Set(hosts)], '*');
};

const ingressAddress: Read = (o) =>
  list(o, 'status.loadBalancer.ingress')
    .map(({ ip, hostname }) => ip ?? hostname)
    .join(',');

const storageClassName: Read = (o) => {
  const isDefault = at(o, 'metadata.annotations') as Json | undefined;
  const marked = isDefault?.['storageclass.kubernetes.io/is-default-class'] === 'true';
  return `${at(o, 'metadata.name')}${marked ? ' (default)' : ''}`;
};

const claim: Read = (o) => {
  const ref = at(o, 'spec.claimRef') as Json | undefined;
  return ref === undefined ? '' : `${ref.namespace}/${ref.name}`;
};

const controller: Read = (o) => {
  const owner = list(o, 'metadata.ownerReferences').find((reference) => reference.controller === true);
  if (owner === undefined) return NONE;
  const [group] = String(owner.apiVersion).split('/');
  return `${String(owner.kind).toLowerCase()}${String(owner.apiVersion).includes('/') ? `.${group}` : ''}/${owner.name}`;
};

const parameters: Read = (o) => {
  const ref = at(o, 'spec.parameters') as Json | undefined;
  if (ref === undefined) return NONE;
  return `${ref.kind}${ref.apiGroup ? `.${ref.apiGroup}` : ''}/${ref.name}`;
};

const paramRef: Read = (o) => {
  const ref = at(o, 'spec.paramRef') as Json | undefined;
  if (ref === undefined) return UNSET;
  return ref.namespace ? `${ref.namespace}/${ref.name ?? '*'}` : `*/${ref.name ?? '*'}`;
};

const paramKind: Read = (o) => {
  const kind = at(o, 'spec.paramKind') as Json | undefined;
  return kind === undefined ? UNSET : `${kind.apiVersion}/${kind.kind}`;
};

const signingState: Read = (o) => {
  const has = (type: string) => list(o, 'status.conditions').some((condition) => condition.type === type);
  const decision = has('Denied') ? 'Denied' : has('Approved') ? 'Approved' : 'Pending';
  const issued = at(o, 'status.certificate') ? ',Issued' : '';
  return `${decision}${has('Failed') ? ',Failed' : ''}${issued}`;
};

const TEMPLATE = { '+Containers': containers('spec.template'), '+Images': images('spec.template') };
const BINDING = {
  Name: name,
  Role: role,
  Age: age,
  '+Users': subjects('User'),
  '+Groups': subjects('Group'),
  '+ServiceAccounts': subjects('ServiceAccount'),
};
const WEBHOOKS = { Name: name, Webhooks: count('webhooks'), Age: age };

export const STORED_COLUMNS: { readonly [K in Kind]?: Columns<KubeObject> } = {
  CustomResourceDefinition: table({ Name: name, 'Created At': created }),
  ServiceAccount: table({ Name: name, Secrets: count('secrets'), Age: age }),
  ReplicationController: table({
    Name: name,
    Desired: number('spec.replicas', 1),
    Current: number('status.replicas'),
    Ready: number('status.readyReplicas'),
    Age: age,
    ...TEMPLATE,
    '+Selector': labels('spec.selector'),
  }),
  PodTemplate: table({
    Name: name,
    Containers: containers('template'),
    Images: images('template'),
    'Pod Labels': labels('template.metadata.labels'),
  }),
  ResourceQuota: table({ Name: name, Request: quota(false), Limit: quota(true), Age: age }),
  LimitRange: table({ Name: name, 'Created At': created }),
  PersistentVolume: table({
    Name: name,
    Capacity: text('spec.capacity.storage'),
    'Access Modes': accessModes('spec.accessModes'),
    'Reclaim Policy': text('spec.persistentVolumeReclaimPolicy'),
    Status: (o) => (at(o, 'metadata.deletionTimestamp') ? 'Terminating' : text('status.phase', 'Available')(o, 0)),
    Claim: claim,
    StorageClass: text('spec.storageClassName'),
    VolumeAttributesClass: text('spec.volumeAttributesClassName', UNSET),
    Reason: text('status.reason'),
    Age: age,
    '+VolumeMode': text('spec.volumeMode', UNSET),
  }),
  PersistentVolumeClaim: table({
    Name: name,
    Status: (o) => (at(o, 'metadata.deletionTimestamp') ? 'Terminating' : text('status.phase', 'Pending')(o, 0)),
    Volume: text('spec.volumeName'),
    Capacity: text('status.capacity.storage'),
    'Access Modes': accessModes('status.accessModes'),
    StorageClass: text('spec.storageClassName'),
    VolumeAttributesClass: text('spec.volumeAttributesClassName', UNSET),
    Age: age,
    '+VolumeMode': text('spec.volumeMode', UNSET),
  }),
  StatefulSet: table({
    Name: name,
    Ready: (o) => `${at(o, 'status.readyReplicas') ?? 0}/${at(o, 'spec.replicas') ?? 1}`,
    Age: age,
    ...TEMPLATE,
  }),
  DaemonSet: table({
    Name: name,
    Desired: number('status.desiredNumberScheduled'),
    Current: number('status.currentNumberScheduled'),
    Ready: number('status.numberReady'),
    'Up-to-date': number('status.updatedNumberScheduled'),
    Available: number('status.numberAvailable'),
    'Node Selector': labels('spec.template.spec.nodeSelector'),
    Age: age,
    ...TEMPLATE,
    '+Selector': selector('spec.selector'),
  }),
  ControllerRevision: table({ Name: name, Controller: controller, Revision: number('revision'), Age: age }),
  Job: table({
    Name: name,
    Status: jobStatus,
    Completions: completions,
    Duration: jobDuration,
    Age: age,
    ...TEMPLATE,
    '+Selector': selector('spec.selector'),
  }),
  CronJob: table({
    Name: name,
    Schedule: text('spec.schedule'),
    Timezone: text('spec.timeZone', NONE),
    Suspend: (o) => (at(o, 'spec.suspend') === true ? 'True' : 'False'),
    Active: count('status.active'),
    'Last Schedule': since('status.lastScheduleTime'),
    Age: age,
    '+Containers': containers('spec.jobTemplate.spec.template'),
    '+Images': images('spec.jobTemplate.spec.template'),
    '+Selector': selector('spec.jobTemplate.spec.selector'),
  }),
  HorizontalPodAutoscaler: table({
    Name: name,
    Reference: (o) => `${at(o, 'spec.scaleTargetRef.kind')}/${at(o, 'spec.scaleTargetRef.name')}`,
    Targets: targets,
    MinPods: (o) => String(at(o, 'spec.minReplicas') ?? UNSET),
    MaxPods: number('spec.maxReplicas'),
    Replicas: number('status.currentReplicas'),
    Age: age,
  }),
  PodDisruptionBudget: table({
    Name: name,
    'Min Available': text('spec.minAvailable', 'N/A'),
    'Max Unavailable': text('spec.maxUnavailable', 'N/A'),
    'Allowed Disruptions': number('status.disruptionsAllowed'),
    Age: age,
  }),
  NetworkPolicy: table({ Name: name, 'Pod-Selector': selector('spec.podSelector'), Age: age }),
  ClusterNetworkPolicy: table({ Name: name, Tier: text('spec.tier'), Priority: text('spec.priority'), Age: age }),
  Ingress: table({
    Name: name,
    Class: (o) => orNone(at(o, 'spec.ingressClassName') as string),
    Hosts: ingressHosts,
    Address: ingressAddress,
    Ports: (o) => (list(o, 'spec.tls').length > 0 ? '80, 443' : '80'),
    Age: age,
  }),
  IngressClass: table({ Name: name, Controller: text('spec.controller'), Parameters: parameters, Age: age }),
  ServiceCIDR: table({ Name: name, CIDRs: names('spec.cidrs', ''), Age: age }),
  IPAddress: table({
    Name: name,
    ParentRef: (o) => {
      const { group, resource, namespace, name: parent } = (at(o, 'spec.parentRef') ?? {}) as Record<string, string>;
      return `${resource}${group ? `.${group}` : ''}/${namespace ? `${namespace}/` : ''}${parent}`;
    },
    Age: age,
  }),
  Role: table({ Name: name, 'Created At': created }),
  ClusterRole: table({ Name: name, 'Created At': created }),
  RoleBinding: table(BINDING),
  ClusterRoleBinding: table(BINDING),
  StorageClass: table({
    Name: storageClassName,
    Provisioner: text('provisioner'),
    ReclaimPolicy: text('reclaimPolicy', 'Delete'),
    VolumeBindingMode: text('volumeBindingMode', 'Immediate'),
    AllowVolumeExpansion: flag('allowVolumeExpansion', false),
    Age: age,
  }),
  VolumeAttachment: table({
    Name: name,
    Attacher: text('spec.attacher'),
    PV: text('spec.source.persistentVolumeName'),
    Node: text('spec.nodeName'),
    Attached: flag('status.attached', false),
    Age: age,
  }),
  CSIDriver: table({
    Name: name,
    AttachRequired: flag('spec.attachRequired', true),
    PodInfoOnMount: flag('spec.podInfoOnMount', false),
    StorageCapacity: flag('spec.storageCapacity', false),
    TokenRequests: (o) =>
      joined(
        list(o, 'spec.tokenRequests').map(({ audience }) => String(audience)),
        UNSET,
      ),
    RequiresRepublish: flag('spec.requiresRepublish', false),
    Modes: names('spec.volumeLifecycleModes', 'Persistent'),
    Age: age,
  }),
  CSINode: table({ Name: name, Drivers: count('spec.drivers'), Age: age }),
  CSIStorageCapacity: table({
    Name: name,
    StorageClassName: text('storageClassName'),
    Capacity: text('capacity', UNSET),
    Age: age,
  }),
  Lease: table({ Name: name, Holder: text('spec.holderIdentity'), Age: age }),
  PriorityClass: table({
    Name: name,
    Value: number('value'),
    'Global-Default': flag('globalDefault', false),
    Age: age,
    PreemptionPolicy: text('preemptionPolicy', 'PreemptLowerPriority'),
  }),
  CertificateSigningRequest: table({
    Name: name,
    Age: age,
    SignerName: text('spec.signerName', NONE),
    Requestor: text('spec.username'),
    RequestedDuration: (o) => {
      const seconds = at(o, 'spec.expirationSeconds') as number | undefined;
      return seconds === undefined ? NONE : printAge(seconds * 1000);
    },
    Condition: signingState,
  }),
  RuntimeClass: table({ Name: name, Handler: text('handler'), Age: age }),
  ValidatingAdmissionPolicy: table({
    Name: name,
    Validations: count('spec.validations'),
    ParamKind: paramKind,
    Age: age,
  }),
  ValidatingAdmissionPolicyBinding: table({
    Name: name,
    PolicyName: text('spec.policyName'),
    ParamRef: paramRef,
    Age: age,
  }),
  ValidatingWebhookConfiguration: table(WEBHOOKS),
  MutatingWebhookConfiguration: table(WEBHOOKS),
};
