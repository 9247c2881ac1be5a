/** Priority classes (k8s.io/kubernetes/pkg/apis/scheduling: validation and the classes of the system). */
import type { FieldError } from '../errors.ts';
import type { PriorityClass } from '../types/objects.ts';
import { forbidden, IMMUTABLE, invalid } from './field-errors.ts';

const HIGHEST_OF_USERS = 1_000_000_000;
const SYSTEM_PREFIX = 'system-';

/** They exist in every cluster. */
export const SYSTEM_CLASSES: readonly { name: string; value: number; description: string }[] = [
  {
    name: 'system-node-critical',
    value: 2_000_001_000,
    description: 'Used for system critical pods that must not be moved from their current node.',
  },
  {
    name: 'system-cluster-critical',
    value: 2_000_000_000,
    description:
      'Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.',
  },
];

export function checkPriorityClass({ metadata, value, globalDefault }: PriorityClass): FieldError[] {
  const { name } = metadata;
  if (!name.startsWith(SYSTEM_PREFIX)) {
    if (value <= HIGHEST_OF_USERS) return [];
    return [forbidden('value', `maximum allowed value of a user defined priority is ${HIGHEST_OF_USERS}`)];
  }
  const why = whyNotOfSystem(name, value, globalDefault === true);
  if (why === undefined) return [];
  const reserved = `priority class names with '${SYSTEM_PREFIX}' prefix are reserved for system use only`;
  return [forbidden('metadata.name', `${reserved}. error: ${why}`)];
}

function whyNotOfSystem(name: string, value: number, globalDefault: boolean): string | undefined {
  const known = SYSTEM_CLASSES.find((one) => one.name === name);
  if (known === undefined) return `${name} is not a known system priority class`;
  if (known.value !== value) return `value of ${name} PriorityClass must be ${known.value}`;
  return globalDefault ? `globalDefault of ${name} PriorityClass must be false` : undefined;
}

export function checkPriorityClassUpdate(object: PriorityClass, old: PriorityClass): FieldError[] {
  const errors: FieldError[] = [];
  if (object.value !== old.value) errors.push(forbidden('value', 'may not be changed in an update.'));
  if (object.preemptionPolicy !== old.preemptionPolicy) {
    errors.push(invalid('preemptionPolicy', object.preemptionPolicy ?? '', IMMUTABLE));
  }
  return errors;
}
