/**
 * The Kubernetes objects that this project uses, restricted to the fields it supports.
 *
 * Names, nesting and optionality are those of the Kubernetes v1.32 API (k8s.io/api). A field that exists there but not
 * here is accepted by `schema.ts` with a warning and stored, but has no effect.
 * Objects handed out by the store, the client's informers and the watch streams are shared: never change them in place.
 */
import type { HorizontalPodAutoscaler } from './autoscaling.ts';
import type { CertificateSigningRequest } from './certificates.ts';
import type { Ingress, IngressClass } from './ingress.ts';
import type { LimitRange, ResourceQuota } from './limits.ts';
import type { Condition, KubeObject, ObjectMeta, ObjectReference } from './meta.ts';
import type { Pod } from './pod.ts';
import type { PriorityClass } from './scheduling.ts';
import type { EndpointSlice, Endpoints, Service } from './service.ts';
import type { IPAddress, ServiceCIDR } from './service-addresses.ts';
import type { PersistentVolume, PersistentVolumeClaim, StorageClass } from './storage.ts';
import type {
  ControllerRevision,
  CronJob,
  DaemonSet,
  Deployment,
  Job,
  PodDisruptionBudget,
  ReplicaSet,
  ReplicationController,
  StatefulSet,
} from './workloads.ts';

export type * from './autoscaling.ts';
export type * from './certificates.ts';
export type * from './ingress.ts';
export type * from './limits.ts';
export type * from './meta.ts';
export type * from './metrics.ts';
export type * from './pod.ts';
export type * from './scheduling.ts';
export type * from './service.ts';
export type * from './service-addresses.ts';
export type * from './storage.ts';
export type * from './workloads.ts';

// ----------------------------------------------------------------------------------------------------- plain documents

export interface ConfigMap extends KubeObject {
  apiVersion: 'v1';
  kind: 'ConfigMap';
  data?: Record<string, string>;
  /** Base64. */
  binaryData?: Record<string, string>;
  immutable?: boolean;
}

export interface Secret extends KubeObject {
  apiVersion: 'v1';
  kind: 'Secret';
  type?: string;
  /** Base64; `stringData` is merged into it on writing. */
  data?: Record<string, string>;
  immutable?: boolean;
}

export interface NamespaceObject extends KubeObject {
  apiVersion: 'v1';
  kind: 'Namespace';
  spec?: { finalizers?: string[] };
  status?: { phase?: 'Active' | 'Terminating' };
}

export interface EventObject extends KubeObject {
  apiVersion: 'v1';
  kind: 'Event';
  involvedObject: ObjectReference;
  reason?: string;
  message?: string;
  type?: string;
  count?: number;
  firstTimestamp?: string;
  lastTimestamp?: string;
  source?: { component?: string; host?: string };
  reportingComponent?: string;
  /** Of events.k8s.io: when it was first seen, and how often since. */
  eventTime?: string;
  series?: { count: number; lastObservedTime: string };
  action?: string;
  reportingInstance?: string;
}

// --------------------------------------------------------------------------------------------------------------- Node

export interface NodeAddress {
  type: 'InternalIP' | 'ExternalIP' | 'Hostname' | 'InternalDNS' | 'ExternalDNS';
  address: string;
}

export interface Taint {
  key: string;
  value?: string;
  effect: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
  timeAdded?: string;
}

export interface NodeObject extends KubeObject {
  apiVersion: 'v1';
  kind: 'Node';
  spec?: {
    podCIDR?: string;
    podCIDRs?: string[];
    unschedulable?: boolean;
    providerID?: string;
    taints?: Taint[];
  };
  status?: {
    addresses?: NodeAddress[];
    conditions?: Condition[];
    capacity?: Record<string, string>;
    allocatable?: Record<string, string>;
    nodeInfo?: Record<string, string>;
    daemonEndpoints?: { kubeletEndpoint?: { Port: number } };
  };
}

/** Who holds something, and until when (coordination.k8s.io/v1). */
export interface Lease extends KubeObject {
  apiVersion: 'coordination.k8s.io/v1';
  kind: 'Lease';
  spec?: { holderIdentity?: string; leaseDurationSeconds?: number; renewTime?: string; acquireTime?: string };
}

// ------------------------------------------------------------------------------------------------------------ protocol

/** Kinds whose fields no code here reads: their types are the published ones. */
export type StoredKind =
  | 'CustomResourceDefinition'
  | 'ServiceAccount'
  | 'PodTemplate'
  | 'NetworkPolicy'
  | 'ClusterNetworkPolicy'
  | 'Role'
  | 'RoleBinding'
  | 'ClusterRole'
  | 'ClusterRoleBinding'
  | 'VolumeAttachment'
  | 'CSIDriver'
  | 'CSINode'
  | 'CSIStorageCapacity'
  | 'RuntimeClass'
  | 'ValidatingAdmissionPolicy'
  | 'ValidatingAdmissionPolicyBinding'
  | 'ValidatingWebhookConfiguration'
  | 'MutatingWebhookConfiguration';

/** An object of a kind that is only stored. */
export interface StoredObject extends KubeObject {
  [field: string]: unknown;
}

/** Every stored kind by its name. */
export interface ObjectByKind extends Record<StoredKind, StoredObject> {
  Pod: Pod;
  Service: Service;
  Endpoints: Endpoints;
  EndpointSlice: EndpointSlice;
  ConfigMap: ConfigMap;
  Secret: Secret;
  Node: NodeObject;
  Namespace: NamespaceObject;
  Event: EventObject;
  Deployment: Deployment;
  ReplicaSet: ReplicaSet;
  ReplicationController: ReplicationController;
  StatefulSet: StatefulSet;
  DaemonSet: DaemonSet;
  ControllerRevision: ControllerRevision;
  Job: Job;
  CronJob: CronJob;
  PodDisruptionBudget: PodDisruptionBudget;
  ResourceQuota: ResourceQuota;
  LimitRange: LimitRange;
  PersistentVolume: PersistentVolume;
  PersistentVolumeClaim: PersistentVolumeClaim;
  StorageClass: StorageClass;
  Lease: Lease;
  HorizontalPodAutoscaler: HorizontalPodAutoscaler;
  Ingress: Ingress;
  IngressClass: IngressClass;
  PriorityClass: PriorityClass;
  ServiceCIDR: ServiceCIDR;
  IPAddress: IPAddress;
  CertificateSigningRequest: CertificateSigningRequest;
}

export type Kind = keyof ObjectByKind;

/** An object as a user writes it; the server sets the rest of its metadata. */
export type Manifest<T extends KubeObject> = Omit<T, 'metadata'> & { metadata: Partial<ObjectMeta> };

export interface ObjectList<T extends KubeObject> {
  apiVersion: string;
  kind: string;
  metadata: { resourceVersion: string; continue?: string };
  items: T[];
}

export interface StatusCause {
  reason?: string;
  message?: string;
  field?: string;
}

/** The API's response to a failed request, and to some successful ones. */
export interface Status {
  apiVersion: 'v1';
  kind: 'Status';
  metadata: Record<string, never>;
  status: 'Success' | 'Failure';
  message?: string;
  reason?: string;
  code?: number;
  details?: {
    name?: string;
    group?: string;
    kind?: string;
    uid?: string;
    causes?: StatusCause[];
    retryAfterSeconds?: number;
  };
}

export type WatchEventType = 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';

export interface WatchEvent<T extends KubeObject> {
  type: WatchEventType;
  object: T;
}

// --------------------------------------------------------------------------------------------------- well-known names

/** Labels and annotations with a meaning here. */
export const WellKnown = {
  /** Type of a Node's condition: are requests and limits of its pods enforced? */
  RESOURCES_ENFORCED: 'ResourcesEnforced',
  /** Type of the Node's condition that its file system for pods is nearly full. */
  DISK_PRESSURE: 'DiskPressure',
  /** On a policy of either kind, `true`: log what it would deny, and deny nothing. */
  POLICY_AUDIT: 'dataplane.dev/policy-audit',
  /** Pod annotation: the address that IPAM allocated to the pod. */
  POD_IP: 'dataplane.dev/pod-ip',
  /** The annotation in which kubectl and `dataplane apply` keep the whole manifest. */
  LAST_APPLIED: 'kubectl.kubernetes.io/last-applied-configuration',
  SERVICE_NAME: 'kubernetes.io/service-name',
  /** Label of a namespace: its name. */
  NAMESPACE_NAME: 'kubernetes.io/metadata.name',
  HEADLESS: 'service.kubernetes.io/headless',
  SERVICE_PROXY_NAME: 'service.kubernetes.io/service-proxy-name',
  MANAGED_BY: 'endpointslice.kubernetes.io/managed-by',
  SKIP_MIRROR: 'endpointslice.kubernetes.io/skip-mirror',
  OVER_CAPACITY: 'endpoints.kubernetes.io/over-capacity',
  /** When the change that an EndpointSlice reflects happened. */
  TRIGGER_TIME: 'endpoints.kubernetes.io/last-change-trigger-time',
  ZONE: 'topology.kubernetes.io/zone',
  REGION: 'topology.kubernetes.io/region',
  HOSTNAME: 'kubernetes.io/hostname',
  OS: 'kubernetes.io/os',
} as const;

/** Flannel's annotations of a Node, which describe its overlay endpoint (flannel pkg/subnet/kube/annotations.go). */
export const FlannelAnnotation = {
  BACKEND_TYPE: 'flannel.alpha.coreos.com/backend-type',
  BACKEND_DATA: 'flannel.alpha.coreos.com/backend-data',
  PUBLIC_IP: 'flannel.alpha.coreos.com/public-ip',
  SUBNET_MANAGER: 'flannel.alpha.coreos.com/kube-subnet-manager',
} as const;

/** The namespace of the nodes' Leases. */
export const NODE_LEASES = 'kube-node-lease';

/** Where the cluster's options are published to the agents. */
export const CONFIG_MAP = { namespace: 'kube-system', name: 'dataplane-config', key: 'options' } as const;
