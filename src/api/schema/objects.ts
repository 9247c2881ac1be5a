/** Schemas of the remaining kinds, and the table of all of them. */
import type { Kind } from '../types/objects.ts';
import {
  anything,
  bool,
  conditions,
  dnsLabel,
  dnsSubdomain,
  document,
  filled,
  int,
  labelSelector,
  list,
  map,
  object,
  oneOf,
  quantity,
  type Schema,
  text,
  textMap,
} from './fields.ts';
import { pod, podTemplate } from './pod.ts';
import { endpointSlice, endpoints, event, service } from './service.ts';

const base64: Schema = {
  type: 'string',
  pattern: '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$',
  expected: 'base64',
};

const dataKey: Schema = {
  pattern: '^[-._a-zA-Z0-9]+$',
  maxLength: 253,
  expected: "a key of letters, digits, '-', '_' and '.'",
};

const configMap = document('v1', 'ConfigMap', dnsSubdomain, {
  data: { ...textMap, propertyNames: dataKey },
  binaryData: { ...map(base64), propertyNames: dataKey },
  immutable: bool,
});

const secret = document('v1', 'Secret', dnsSubdomain, {
  type: text(),
  data: { ...map(base64), propertyNames: dataKey },
  stringData: { ...textMap, propertyNames: dataKey },
  immutable: bool,
});

const namespace = document('v1', 'Namespace', dnsLabel, {
  spec: object({ finalizers: list(text()) }),
  status: object({ phase: oneOf('Active', 'Terminating'), conditions }),
});

const cidr = text('a CIDR such as 10.244.1.0/24');

const node = document('v1', 'Node', dnsSubdomain, {
  spec: object(
    {
      podCIDR: cidr,
      podCIDRs: list(cidr),
      unschedulable: bool,
      providerID: text(),
      taints: list(
        object({
          'key!': filled('the name of a taint'),
          value: text(),
          'effect!': oneOf('NoSchedule', 'PreferNoSchedule', 'NoExecute'),
          timeAdded: text(),
        }),
      ),
    },
    ['configSource', 'externalID'],
  ),
  status: object(
    {
      addresses: list(
        object({
          'type!': oneOf('InternalIP', 'ExternalIP', 'Hostname', 'InternalDNS', 'ExternalDNS'),
          'address!': filled('an address'),
        }),
      ),
      conditions,
      capacity: map(quantity),
      allocatable: map(quantity),
      nodeInfo: map(anything),
      daemonEndpoints: anything,
      phase: text(),
    },
    ['config', 'declaredFeatures', 'features', 'images', 'runtimeHandlers', 'volumesAttached', 'volumesInUse'],
  ),
});

const countOrPercent: Schema = {
  type: ['integer', 'string'],
  minimum: 0,
  pattern: '^[0-9]+%$',
  expected: 'integer of 0 or more, or a percentage such as 25%',
};

const counters = (...names: string[]) => Object.fromEntries(names.map((n) => [n, int(0)]));

const deployment = document('apps/v1', 'Deployment', dnsSubdomain, {
  'spec!': object({
    replicas: int(0),
    'selector!': labelSelector,
    'template!': podTemplate,
    minReadySeconds: int(0),
    revisionHistoryLimit: int(0),
    progressDeadlineSeconds: int(1),
    paused: bool,
    strategy: object({
      type: oneOf('RollingUpdate', 'Recreate'),
      rollingUpdate: object({ maxSurge: countOrPercent, maxUnavailable: countOrPercent }),
    }),
  }),
  status: object({
    ...counters('replicas', 'updatedReplicas', 'readyReplicas', 'availableReplicas', 'unavailableReplicas'),
    ...counters('observedGeneration', 'collisionCount', 'terminatingReplicas'),
    conditions,
  }),
});

const replicaSet = document('apps/v1', 'ReplicaSet', dnsSubdomain, {
  'spec!': object({
    replicas: int(0),
    minReadySeconds: int(0),
    'selector!': labelSelector,
    'template!': podTemplate,
  }),
  status: object({
    ...counters('replicas', 'fullyLabeledReplicas', 'readyReplicas', 'availableReplicas', 'observedGeneration'),
    ...counters('terminatingReplicas'),
    conditions,
  }),
});

/** Kinds whose fields are used here; all others are checked against their published type only. */
export const SCHEMAS: { readonly [K in Kind]?: Schema } = {
  Pod: pod,
  Service: service,
  Endpoints: endpoints,
  EndpointSlice: endpointSlice,
  ConfigMap: configMap,
  Secret: secret,
  Node: node,
  Namespace: namespace,
  Event: event,
  Deployment: deployment,
  ReplicaSet: replicaSet,
};
