/** Validation of updates: immutable fields. Messages follow the validation in k8s.io/kubernetes/pkg/apis. */
import { isDeepStrictEqual } from 'node:util';
import type { FieldError } from '../errors.ts';
import type {
  CertificateSigningRequest,
  ConfigMap,
  Container,
  Deployment,
  EndpointSlice,
  IPAddress,
  Job,
  KubeObject,
  NodeObject,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  PodSpec,
  PriorityClass,
  ResourceQuota,
  Secret,
  Service,
  ServiceCIDR,
  StatefulSet,
  StorageClass,
  Toleration,
  WrittenPart,
} from '../types/objects.ts';
import { checkAddedContainers, checkNoEphemeralContainers } from './ephemeral-containers.ts';
import { forbidden, IMMUTABLE, invalid } from './field-errors.ts';
import { checkJobUpdate } from './job.ts';
import { checkPriorityClassUpdate } from './priority.ts';
import { checkIpAddressUpdate, checkServiceCidrUpdate } from './service-addresses.ts';
import { checkSigningRequestUpdate } from './signing-requests.ts';
import { checkClaimUpdate, checkClassUpdate, checkVolumeUpdate } from './storage.ts';

/** All errors of replacing `old` with `object`, through a subresource if one is named. */
export function checkUpdate(object: KubeObject, old: KubeObject, subresource?: WrittenPart): FieldError[] {
  if (subresource === 'ephemeralcontainers') return checkAddedContainers((object as Pod).spec, (old as Pod).spec);
  return [...checkFinalizers(object, old), ...checkKind(object, old, subresource)];
}

/** Errors of fields that a new object may not have. */
export function checkCreate(object: KubeObject): FieldError[] {
  return object.kind === 'Pod' ? checkNoEphemeralContainers((object as Pod).spec) : [];
}

/** A terminating object gets no new finalizers (apimachinery/pkg/api/validation, ValidateObjectMetaAccessorUpdate). */
export function checkFinalizers({ metadata }: KubeObject, old: KubeObject): FieldError[] {
  if (old.metadata.deletionTimestamp === undefined) return [];
  const before = new Set(old.metadata.finalizers);
  const added = (metadata.finalizers ?? []).filter((finalizer) => !before.has(finalizer));
  if (added.length === 0) return [];
  const names = added.map((name) => JSON.stringify(name)).join(', ');
  const why = `no new finalizers can be added if the object is being deleted, found new finalizers []string{${names}}`;
  return [{ path: 'metadata.finalizers', message: `Forbidden: ${why}`, reason: 'FieldValueForbidden' }];
}

function checkKind(object: KubeObject, old: KubeObject, subresource: WrittenPart | undefined): FieldError[] {
  switch (object.kind) {
    case 'Pod':
      return checkPod((object as Pod).spec, (old as Pod).spec);
    case 'Service':
      return checkService(object as Service, old as Service);
    case 'ConfigMap':
    case 'Secret':
      return checkData(object as ConfigMap | Secret, old as ConfigMap | Secret);
    case 'EndpointSlice': {
      const { addressType } = object as EndpointSlice;
      if (addressType === (old as EndpointSlice).addressType) return [];
      return [invalid('addressType', addressType, IMMUTABLE)];
    }
    case 'Node':
      return checkNode(object as NodeObject, old as NodeObject);
    case 'Deployment':
    case 'ReplicaSet':
    case 'DaemonSet': {
      const { selector } = (object as Deployment).spec;
      return isDeepStrictEqual(selector, (old as Deployment).spec.selector)
        ? []
        : [invalid('spec.selector', selector, IMMUTABLE)];
    }
    case 'CertificateSigningRequest':
      return checkSigningRequestUpdate(
        object as CertificateSigningRequest,
        old as CertificateSigningRequest,
        subresource,
      );
    case 'Job':
      return checkJobUpdate(object as Job, old as Job);
    case 'StatefulSet':
      return checkStatefulSet(object as StatefulSet, old as StatefulSet);
    case 'ResourceQuota': {
      const { scopes } = (object as ResourceQuota).spec ?? {};
      const same = isDeepStrictEqual(scopes ?? [], (old as ResourceQuota).spec?.scopes ?? []);
      return same ? [] : [invalid('spec.scopes', scopes, IMMUTABLE)];
    }
    case 'PersistentVolumeClaim':
      return checkClaimUpdate(object as PersistentVolumeClaim, old as PersistentVolumeClaim);
    case 'PersistentVolume':
      return checkVolumeUpdate(object as PersistentVolume, old as PersistentVolume);
    case 'PriorityClass':
      return checkPriorityClassUpdate(object as PriorityClass, old as PriorityClass);
    case 'ServiceCIDR':
      return checkServiceCidrUpdate(object as ServiceCIDR, old as ServiceCIDR);
    case 'IPAddress':
      return checkIpAddressUpdate(object as IPAddress, old as IPAddress);
    case 'StorageClass':
      return checkClassUpdate(object as StorageClass, old as StorageClass);
    default:
      return [];
  }
}

/** What of a StatefulSet may change; the identity of its pods depends on the rest (ValidateStatefulSetUpdate). */
const CHANGEABLE_SET_FIELDS = [
  ...['replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit'],
  ...['persistentVolumeClaimRetentionPolicy', 'minReadySeconds'],
] as const satisfies readonly (keyof StatefulSet['spec'])[];

function checkStatefulSet({ spec }: StatefulSet, { spec: old }: StatefulSet): FieldError[] {
  const changed: Partial<StatefulSet['spec']> = { ...spec };
  const before: Partial<StatefulSet['spec']> = { ...old };
  for (const field of CHANGEABLE_SET_FIELDS) {
    delete changed[field];
    delete before[field];
  }
  if (isDeepStrictEqual(changed, before)) return [];
  const named = CHANGEABLE_SET_FIELDS.map((field) => `'${field}'`);
  const most = named.slice(0, -1).join(', ');
  const why = `updates to statefulset spec for fields other than ${most} and ${named.at(-1)} are forbidden`;
  return [forbidden('spec', why)];
}

/** The only fields of a running pod that may change. */
function changeable(spec: PodSpec): PodSpec {
  const plain = (c: Container) => ({ ...c, image: '' });
  return {
    ...spec,
    containers: spec.containers.map(plain),
    ...(spec.initContainers && { initContainers: spec.initContainers.map(plain) }),
    activeDeadlineSeconds: 0,
    tolerations: [],
    schedulingGates: [],
  };
}

/** Tolerations can be added, and the seconds of those that are there changed. */
function losesToleration({ tolerations: now = [] }: PodSpec, { tolerations: before = [] }: PodSpec): boolean {
  const same = (a: Toleration, b: Toleration) =>
    isDeepStrictEqual({ ...a, tolerationSeconds: 0 }, { ...b, tolerationSeconds: 0 });
  return !before.every((old) => now.some((toleration) => same(toleration, old)));
}

function checkPod(spec: PodSpec, old: PodSpec): FieldError[] {
  if (spec === old) return [];
  if (losesToleration(spec, old)) {
    return [forbidden('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds')];
  }
  const gates = (of: PodSpec) => (of.schedulingGates ?? []).map(({ name }) => name);
  const added = gates(spec).find((name) => !gates(old).includes(name));
  if (added !== undefined) {
    return [forbidden('spec.schedulingGates', `only deletion is allowed, but found new scheduling gate '${added}'`)];
  }
  if (isDeepStrictEqual(changeable(spec), changeable(old))) return [];
  const message =
    'Forbidden: pod updates may not change fields other than ' +
    '`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,' +
    '`spec.tolerations` (only additions to existing tolerations)';
  return [{ path: 'spec', message, reason: 'FieldValueForbidden' }];
}

function checkService({ spec }: Service, { spec: old }: Service): FieldError[] {
  const errors: FieldError[] = [];
  // A change from or to ExternalName releases or allocates the ClusterIP; no other change of type does.
  const both = spec.type !== 'ExternalName' && old.type !== 'ExternalName';
  if (both && old.clusterIP && spec.clusterIP !== old.clusterIP) {
    errors.push(invalid('spec.clusterIPs[0]', [spec.clusterIP ?? ''], 'may not change once set'));
  }
  if (old.healthCheckNodePort && spec.healthCheckNodePort && spec.healthCheckNodePort !== old.healthCheckNodePort) {
    errors.push(invalid('spec.healthCheckNodePort', spec.healthCheckNodePort, IMMUTABLE));
  }
  if (spec.type === 'LoadBalancer' && old.type === 'LoadBalancer' && spec.loadBalancerClass !== old.loadBalancerClass) {
    errors.push(invalid('spec.loadBalancerClass', spec.loadBalancerClass ?? '', 'may not change once set'));
  }
  return errors;
}

function checkData(object: ConfigMap | Secret, old: ConfigMap | Secret): FieldError[] {
  const errors: FieldError[] = [];
  if (old.immutable === true) {
    const message = 'Forbidden: field is immutable when `immutable` is set';
    if (object.immutable !== true) errors.push({ path: 'immutable', message });
    const { data, binaryData } = object as ConfigMap;
    if (!isDeepStrictEqual([data, binaryData], [old.data, (old as ConfigMap).binaryData])) {
      errors.push({ path: 'data', message });
    }
  }
  if (object.kind === 'Secret' && object.type !== (old as Secret).type) {
    errors.push(invalid('type', (object as Secret).type, IMMUTABLE));
  }
  return errors;
}

function checkNode({ spec }: NodeObject, { spec: old }: NodeObject): FieldError[] {
  if (old?.podCIDR === undefined || spec?.podCIDR === old.podCIDR) return [];
  const message = 'Forbidden: node updates may not change podCIDR except from "" to valid';
  return [{ path: 'spec.podCIDRs', message, reason: 'FieldValueForbidden' }];
}
