/**
 * Ephemeral containers: what they may have, and that they can only be added, through their own subresource
 * (k8s.io/kubernetes/pkg/apis/core/validation, validateEphemeralContainers and ValidatePodEphemeralContainersUpdate).
 */
import { isDeepStrictEqual } from 'node:util';
import { templateContainersOf } from '../containers.ts';
import type { FieldError } from '../errors.ts';
import type { Container, PodSpec } from '../types/objects.ts';
import { duplicate, forbidden, notFound } from './field-errors.ts';

const NOT_ALLOWED = 'cannot be set for an Ephemeral Container';
const NOT_ALLOWED_FIELDS = [
  'ports',
  'resources',
  'livenessProbe',
  'readinessProbe',
  'startupProbe',
  'lifecycle',
  'resizePolicy',
  'restartPolicy',
] as const;

/**
 * @param at path of the spec
 * @param checkContainer checks what all containers have in common
 */
export function checkEphemeralContainers(
  spec: PodSpec,
  at: string,
  checkContainer: (container: Container, path: string) => void,
): FieldError[] {
  const list = spec.ephemeralContainers ?? [];
  const path = `${at}.ephemeralContainers`;
  if (list.length > 0 && at !== 'spec') return [forbidden(path, 'ephemeral containers not allowed in pod template')];
  const errors: FieldError[] = [];
  const others = new Set(templateContainersOf(spec).map(({ name }) => name));
  const names = new Set(others);
  for (const [i, container] of list.entries()) {
    const here = `${path}[${i}]`;
    checkContainer(container, here);
    if (names.has(container.name)) errors.push(duplicate(`${here}.name`, container.name));
    names.add(container.name);
    const { targetContainerName: target, volumeMounts = [] } = container;
    if (target && !others.has(target)) errors.push(notFound(`${here}.targetContainerName`, target));
    for (const field of NOT_ALLOWED_FIELDS) {
      if (isSet((container as unknown as Record<string, unknown>)[field])) {
        errors.push(forbidden(`${here}.${field}`, NOT_ALLOWED));
      }
    }
    for (const [j, { subPath }] of volumeMounts.entries()) {
      if (subPath) errors.push(forbidden(`${here}.volumeMounts[${j}].subPath`, NOT_ALLOWED));
    }
  }
  return errors;
}

const isSet = (value: unknown): boolean =>
  typeof value === 'object' && value !== null ? Object.keys(value).length > 0 : Boolean(value);

/** Of a new pod. */
export function checkNoEphemeralContainers({ ephemeralContainers }: PodSpec): FieldError[] {
  return ephemeralContainers?.length ? [forbidden('spec.ephemeralContainers', 'cannot be set on create')] : [];
}

/** Those that are there stay as they are. */
export function checkAddedContainers(spec: PodSpec, old: PodSpec): FieldError[] {
  const errors: FieldError[] = [];
  for (const before of old.ephemeralContainers ?? []) {
    const now = spec.ephemeralContainers?.find(({ name }) => name === before.name);
    if (isDeepStrictEqual(now, before)) continue;
    const what = now === undefined ? 'removed' : 'changed';
    const why = `existing ephemeral containers ${JSON.stringify(before.name)} may not be ${what}`;
    errors.push(forbidden('spec.ephemeralContainers', why));
  }
  return errors;
}
