/**
 * Priorities of pods: a new pod gets the value of its class, or of the default class (plugin/pkg/admission/priority).
 * What follows from it: scheduler.ts, preemption.ts.
 */
import { forbidden } from '../../api/errors.ts';
import { resourceOfKind } from '../../api/resources.ts';
import { SYSTEM_CLASSES } from '../../api/rules/priority.ts';
import type { Admission } from '../../api/store/registry.ts';
import type { Store } from '../../api/store/store.ts';
import type { Pod, PriorityClass } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';

const PODS = resourceOfKind('Pod')!;
const CLASSES = resourceOfKind('PriorityClass')!;

/** @throws ApiError 403 if there is no such class, or the pod has other values than it */
export function withPriority(store: Store, pod: Pod): Pod {
  const { spec, metadata } = pod;
  const named = spec.priorityClassName;
  const found = named ? store.get('PriorityClass', undefined, named) : defaultClass(store);
  const refuse = (why: string) => forbidden(PODS, metadata.name ?? metadata.generateName ?? '', why);
  if (named && found === undefined) throw refuse(`no PriorityClass with name ${named} was found`);
  const priority = found?.value ?? 0;
  const preemptionPolicy = found === undefined ? 'PreemptLowerPriority' : found.preemptionPolicy;
  const computed = (value: unknown) =>
    `must not be provided in pod spec; priority admission controller computed ${value} from the given PriorityClass name`;
  if (spec.priority !== undefined && spec.priority !== priority) {
    throw refuse(`the integer value of priority (${spec.priority}) ${computed(priority)}`);
  }
  if (spec.preemptionPolicy && preemptionPolicy && spec.preemptionPolicy !== preemptionPolicy) {
    throw refuse(`the string value of PreemptionPolicy (${spec.preemptionPolicy}) ${computed(preemptionPolicy)}`);
  }
  const name = named || found?.metadata.name;
  return {
    ...pod,
    spec: {
      ...spec,
      ...(name && { priorityClassName: name }),
      priority,
      ...(preemptionPolicy && { preemptionPolicy }),
    },
  };
}

/** An update that leaves them out keeps them. */
export function withFormerPriority(pod: Pod, { spec: old }: Pod): Pod {
  const { priority = old.priority, preemptionPolicy = old.preemptionPolicy } = pod.spec;
  const spec = {
    ...pod.spec,
    ...(priority !== undefined && { priority }),
    ...(preemptionPolicy && { preemptionPolicy }),
  };
  return { ...pod, spec };
}

function defaultClass(store: Store): PriorityClass | undefined {
  const all = store.list('PriorityClass').filter(({ globalDefault }) => globalDefault);
  return all.sort((a, b) => a.value - b.value)[0];
}

export function priorityClassAdmission(store: Store): Admission<PriorityClass> {
  return {
    admit(object) {
      const other = object.globalDefault ? defaultClass(store)?.metadata.name : undefined;
      if (other === undefined || other === object.metadata.name) return object;
      const why = `PriorityClass ${other} is already marked as default. Only one default can exist`;
      throw forbidden(CLASSES, object.metadata.name, why);
    },
    checkDelete({ metadata: { name } }) {
      if (!SYSTEM_CLASSES.some((one) => one.name === name)) return;
      throw forbidden(CLASSES, name, 'this is a system priority class and cannot be deleted');
    },
  };
}

/** The classes that every cluster has. */
export function makeSystemClasses({ store, registry }: Cluster): void {
  for (const { name, value, description } of SYSTEM_CLASSES) {
    if (store.get('PriorityClass', undefined, name) !== undefined) continue;
    const object = {
      apiVersion: 'scheduling.k8s.io/v1',
      kind: 'PriorityClass',
      metadata: { name },
      value,
      description,
    };
    registry.create(CLASSES, undefined, object);
  }
}
