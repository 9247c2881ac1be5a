/**
 * The resources the API serves: one row per kind. Paths, discovery, schemas, tables and the CLI's names follow from it.
 * A row suffices to serve a kind that Kubernetes publishes; its fields are in `published/`.
 */
import type { Columns } from './tables/cells.ts';
import type { Kind, KubeObject } from './types/objects.ts';
import { AUTOSCALING_V1, EVENTS_V1, type View } from './views.ts';

export interface Resource {
  /** For a custom resource, any text that is no name in `Kind`. */
  kind: Kind;
  /** The collection in the store: the kind, or `Kind.group` for a custom resource. */
  key: Kind;
  /** Empty for the core group. */
  group: string;
  version: string;
  plural: string;
  singular: string;
  shortNames: readonly string[];
  /** Categories, such as `all` for `kubectl get all`. */
  categories: readonly string[];
  namespaced: boolean;
  /** Has a `/status` subresource: a write to the object does not change `status`, and the other way round. */
  status: boolean;
  /** `metadata.generation` counts the changes of everything but metadata and status. */
  generation?: boolean;
  /** The fields that `/scale` reads and writes; undefined if there is no such subresource. */
  scale?: ScalePaths;
  /** Stored, served and watched, but no controller acts on it. */
  inert: boolean;
  /** Set if there is only get and list. */
  readOnly?: boolean;
  /** Set if this is another version of a kind that is stored as `resourceOfKind(key)`. */
  view?: View;
  /** Set for custom resources: this version in the definition. */
  custom?: {
    schema: object;
    storedApiVersion: string;
    columns: Columns<KubeObject>;
    /** Paths that field selectors may name. */
    selectable: readonly string[];
  };
}

/** Paths within the object, such as `spec.replicas`. */
export interface ScalePaths {
  specReplicas: string;
  statusReplicas: string;
  /** Path of the selector; a text (custom resources) or an object. */
  selector?: string;
}

type Trait = 'cluster' | 'status' | 'scale' | 'all' | 'inert' | 'generation';

const REPLICAS: ScalePaths = {
  specReplicas: 'spec.replicas',
  statusReplicas: 'status.replicas',
  selector: 'spec.selector',
};

/** Namespaced unless `cluster`; without a status subresource unless `status`. */
function row(kind: Kind, apiVersion: string, plural: string, short: readonly string[], ...traits: Trait[]): Resource {
  const slash = apiVersion.indexOf('/');
  return {
    kind,
    key: kind,
    group: slash < 0 ? '' : apiVersion.slice(0, slash),
    version: apiVersion.slice(slash + 1),
    plural,
    singular: kind.toLowerCase(),
    shortNames: short,
    categories: traits.includes('all') ? ['all'] : [],
    namespaced: !traits.includes('cluster'),
    status: traits.includes('status'),
    ...(traits.includes('generation') && { generation: true }),
    ...(traits.includes('scale') && { scale: REPLICAS }),
    inert: traits.includes('inert'),
  };
}

const RBAC = 'rbac.authorization.k8s.io/v1';
const NETWORKING = 'networking.k8s.io/v1';
const CLUSTER_POLICY = 'policy.networking.k8s.io/v1alpha2';
const STORAGE = 'storage.k8s.io/v1';
const ADMISSION = 'admissionregistration.k8s.io/v1';
const CERTIFICATES = 'certificates.k8s.io/v1';

export const RESOURCES: readonly Resource[] = [
  row('Pod', 'v1', 'pods', ['po'], 'status', 'all', 'generation'),
  row('Service', 'v1', 'services', ['svc'], 'status', 'all'),
  row('Endpoints', 'v1', 'endpoints', ['ep']),
  row('ConfigMap', 'v1', 'configmaps', ['cm']),
  row('Secret', 'v1', 'secrets', []),
  row('Event', 'v1', 'events', ['ev']),
  row('Node', 'v1', 'nodes', ['no'], 'cluster', 'status'),
  row('Namespace', 'v1', 'namespaces', ['ns'], 'cluster', 'status'),
  row('ServiceAccount', 'v1', 'serviceaccounts', ['sa']),
  row('ReplicationController', 'v1', 'replicationcontrollers', ['rc'], 'status', 'scale', 'all', 'generation'),
  row('PodTemplate', 'v1', 'podtemplates', []),
  row('ResourceQuota', 'v1', 'resourcequotas', ['quota'], 'status'),
  row('LimitRange', 'v1', 'limitranges', ['limits']),
  row('PersistentVolume', 'v1', 'persistentvolumes', ['pv'], 'cluster', 'status'),
  row('PersistentVolumeClaim', 'v1', 'persistentvolumeclaims', ['pvc'], 'status'),
  row('EndpointSlice', 'discovery.k8s.io/v1', 'endpointslices', [], 'generation'),
  row('Deployment', 'apps/v1', 'deployments', ['deploy'], 'status', 'scale', 'all', 'generation'),
  row('ReplicaSet', 'apps/v1', 'replicasets', ['rs'], 'status', 'scale', 'all', 'generation'),
  row('StatefulSet', 'apps/v1', 'statefulsets', ['sts'], 'status', 'scale', 'all', 'generation'),
  row('DaemonSet', 'apps/v1', 'daemonsets', ['ds'], 'status', 'all', 'generation'),
  row('ControllerRevision', 'apps/v1', 'controllerrevisions', []),
  row('Job', 'batch/v1', 'jobs', [], 'status', 'all', 'generation'),
  row('CronJob', 'batch/v1', 'cronjobs', ['cj'], 'status', 'all', 'generation'),
  row('HorizontalPodAutoscaler', 'autoscaling/v2', 'horizontalpodautoscalers', ['hpa'], 'status', 'all'),
  row('PodDisruptionBudget', 'policy/v1', 'poddisruptionbudgets', ['pdb'], 'status', 'generation'),
  row('NetworkPolicy', NETWORKING, 'networkpolicies', ['netpol'], 'generation'),
  row('ClusterNetworkPolicy', CLUSTER_POLICY, 'clusternetworkpolicies', ['cnp'], 'cluster', 'status', 'generation'),
  row('Ingress', NETWORKING, 'ingresses', ['ing'], 'status', 'generation'),
  row('IngressClass', NETWORKING, 'ingressclasses', [], 'cluster', 'generation'),
  row('ServiceCIDR', NETWORKING, 'servicecidrs', [], 'cluster', 'status'),
  row('IPAddress', NETWORKING, 'ipaddresses', ['ip'], 'cluster'),
  row('Role', RBAC, 'roles', []),
  row('RoleBinding', RBAC, 'rolebindings', []),
  row('ClusterRole', RBAC, 'clusterroles', [], 'cluster'),
  row('ClusterRoleBinding', RBAC, 'clusterrolebindings', [], 'cluster'),
  row('StorageClass', STORAGE, 'storageclasses', ['sc'], 'cluster'),
  row('VolumeAttachment', STORAGE, 'volumeattachments', [], 'cluster', 'status', 'inert'),
  row('CSIDriver', STORAGE, 'csidrivers', [], 'cluster', 'inert'),
  row('CSINode', STORAGE, 'csinodes', [], 'cluster', 'inert'),
  row('CSIStorageCapacity', STORAGE, 'csistoragecapacities', [], 'inert'),
  row('Lease', 'coordination.k8s.io/v1', 'leases', []),
  row('PriorityClass', 'scheduling.k8s.io/v1', 'priorityclasses', ['pc'], 'cluster', 'generation'),
  row('CertificateSigningRequest', CERTIFICATES, 'certificatesigningrequests', ['csr'], 'cluster', 'status'),
  row('RuntimeClass', 'node.k8s.io/v1', 'runtimeclasses', [], 'cluster', 'inert'),
  row(
    'CustomResourceDefinition',
    'apiextensions.k8s.io/v1',
    'customresourcedefinitions',
    ['crd', 'crds'],
    'cluster',
    'status',
    'generation',
  ),
  row(
    'ValidatingAdmissionPolicy',
    ADMISSION,
    'validatingadmissionpolicies',
    [],
    'cluster',
    'status',
    'inert',
    'generation',
  ),
  row(
    'ValidatingAdmissionPolicyBinding',
    ADMISSION,
    'validatingadmissionpolicybindings',
    [],
    'cluster',
    'inert',
    'generation',
  ),
  row(
    'ValidatingWebhookConfiguration',
    ADMISSION,
    'validatingwebhookconfigurations',
    [],
    'cluster',
    'inert',
    'generation',
  ),
  row('MutatingWebhookConfiguration', ADMISSION, 'mutatingwebhookconfigurations', [], 'cluster', 'inert', 'generation'),
];

const byKind = new Map<string, Resource>(RESOURCES.map((r) => [r.kind, r]));

/** A kind in the form of another group or version. */
function view(kind: Kind, group: string, version: string, conversion: View): Resource {
  const { categories: _once, ...stored } = byKind.get(kind)!;
  return { ...stored, categories: [], group, version, view: conversion };
}

/** Every resource with a URL: the stored kinds and other versions of them. */
export const SERVED: readonly Resource[] = [
  ...RESOURCES,
  view('Event', 'events.k8s.io', 'v1', EVENTS_V1),
  view('HorizontalPodAutoscaler', 'autoscaling', 'v1', AUTOSCALING_V1),
];

const byPath = new Map<string, Resource>(SERVED.map((r) => [`${apiVersionOf(r)}/${r.plural}`, r]));

/** The resource in its stored version. */
export const storedForm = (resource: Resource): Resource =>
  resource.view === undefined || resource.custom !== undefined ? resource : byKind.get(resource.key)!;

/** `v1`, `discovery.k8s.io/v1`, … */
export function apiVersionOf(resource: Resource): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}

/** Root of the resource's URLs: `/api/v1`, `/apis/apps/v1`, … */
export function apiRootOf(resource: Resource): string {
  return resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
}

/** `pods`, `deployments.apps`: a resource's name in error messages. */
export function qualifiedName(resource: Pick<Resource, 'group' | 'plural'>): string {
  return resource.group === '' ? resource.plural : `${resource.plural}.${resource.group}`;
}

/** `pod/mc3`, `deployment.apps/web`: an object's name in kubectl's output. */
export function displayName(resource: Resource, name: string): string {
  const group = resource.group === '' ? '' : `.${resource.group}`;
  return `${resource.singular}${group}/${name}`;
}

/** Do the objects of this kind have a generation? All custom ones do. */
export function hasGeneration(object: { apiVersion: string; kind: string }): boolean {
  const known = byKind.get(collectionOf(object));
  return known === undefined || known.generation === true;
}

/** The collection of an object in the store. */
export function collectionOf({ apiVersion, kind }: { apiVersion: string; kind: string }): Kind {
  const slash = apiVersion.indexOf('/');
  const group = slash < 0 ? '' : apiVersion.slice(0, slash);
  const known = byKind.get(kind);
  return known?.group === group ? known.key : (`${kind}.${group}` as Kind);
}

export function resourceOfKind(kind: string): Resource | undefined {
  return byKind.get(kind);
}

export function resourceOfPath(apiVersion: string, plural: string): Resource | undefined {
  return byPath.get(`${apiVersion}/${plural}`);
}

/** The resource meant by `po`, `pod`, `pods`, `Pod` or `endpointslices.discovery.k8s.io`. */
export function resourceNamed(word: string): Resource | undefined {
  const name = word.toLowerCase();
  return RESOURCES.find(
    (r) => r.plural === name || r.singular === name || r.shortNames.includes(name) || qualifiedName(r) === name,
  );
}

/** URL path of a collection, an object or its subresource. `namespace` undefined: all namespaces. */
export function resourcePath(resource: Resource, namespace?: string, name?: string, subresource?: string): string {
  let path = apiRootOf(resource);
  if (resource.namespaced && namespace !== undefined) path += `/namespaces/${encodeURIComponent(namespace)}`;
  path += `/${resource.plural}`;
  if (name !== undefined) path += `/${encodeURIComponent(name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}
