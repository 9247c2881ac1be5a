/** Schema of what decides where a pod runs: affinity, topology spread constraints, tolerations. */
import { dnsLabel, filled, int, labelSelector, list, object, oneOf, type Schema, shared, text } from './fields.ts';

const requirement = object({
  'key!': filled('the key of a label'),
  'operator!': oneOf('In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt'),
  values: list(text()),
});
const nodeSelectorTerm = object({ matchExpressions: list(requirement), matchFields: list(requirement) });

const weight = int(1, 100);
const topologyKey = filled('the key of a label of nodes');

const podAffinityTerm = shared(
  'podAffinityTerm',
  object({ labelSelector, 'topologyKey!': topologyKey, namespaces: list(dnsLabel), namespaceSelector: labelSelector }, [
    'matchLabelKeys',
    'mismatchLabelKeys',
  ]),
);

const podAffinity = object({
  requiredDuringSchedulingIgnoredDuringExecution: list(podAffinityTerm),
  preferredDuringSchedulingIgnoredDuringExecution: list(
    object({ 'weight!': weight, 'podAffinityTerm!': podAffinityTerm }),
  ),
});

export const affinity: Schema = object({
  nodeAffinity: object({
    requiredDuringSchedulingIgnoredDuringExecution: object({
      'nodeSelectorTerms!': list(nodeSelectorTerm, { minItems: 1 }),
    }),
    preferredDuringSchedulingIgnoredDuringExecution: list(
      object({ 'weight!': weight, 'preference!': nodeSelectorTerm }),
    ),
  }),
  podAffinity,
  podAntiAffinity: podAffinity,
});

export const topologySpreadConstraints: Schema = list(
  object(
    {
      'maxSkew!': int(1),
      'topologyKey!': topologyKey,
      'whenUnsatisfiable!': oneOf('DoNotSchedule', 'ScheduleAnyway'),
      labelSelector,
      minDomains: int(1),
      matchLabelKeys: list(text('the key of a label')),
      nodeAffinityPolicy: oneOf('Honor', 'Ignore'),
    },
    ['nodeTaintsPolicy'],
  ),
);

export const tolerations: Schema = list(
  object({
    key: text(),
    operator: oneOf('Exists', 'Equal'),
    value: text(),
    effect: oneOf('NoSchedule', 'PreferNoSchedule', 'NoExecute'),
    tolerationSeconds: int(Number.MIN_SAFE_INTEGER),
  }),
);
