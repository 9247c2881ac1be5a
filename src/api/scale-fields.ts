/** Desired and actual replicas of any kind that has `/scale`, by the paths of its resource. */
import type { Resource } from './resources.ts';
import { printSelector } from './tables/cells.ts';
import { at } from './tables/path-cells.ts';
import type { KubeObject, LabelSelector } from './types/objects.ts';

export interface ScaleFields {
  specReplicas: number;
  statusReplicas: number;
  /** As a label selector in text; undefined if the kind has none. */
  selector: string | undefined;
}

export function scaleFields({ scale }: Resource, object: KubeObject): ScaleFields {
  const selector = scale!.selector === undefined ? undefined : at(object, scale!.selector);
  return {
    specReplicas: Number(at(object, scale!.specReplicas) ?? 0),
    statusReplicas: Number(at(object, scale!.statusReplicas) ?? 0),
    selector: selector === undefined ? undefined : selectorText(selector),
  };
}

/** A copy with this number of desired replicas. */
export const withReplicas = <T extends KubeObject>({ scale }: Resource, object: T, replicas: number): T =>
  withValue(object, scale!.specReplicas, replicas);

function selectorText(selector: unknown): string {
  if (typeof selector === 'string') return selector;
  const { matchLabels, matchExpressions } = selector as LabelSelector;
  if (matchLabels === undefined && matchExpressions === undefined) {
    return printSelector({ matchLabels: selector as Record<string, string> }); // of a ReplicationController
  }
  return printSelector(selector as LabelSelector);
}

/** A copy with the value at a path such as `spec.replicas`. */
function withValue<T extends object>(object: T, path: string, value: unknown): T {
  const [first = '', ...rest] = path.split('.');
  const members = object as Record<string, unknown>;
  const inner = rest.length === 0 ? value : withValue((members[first] ?? {}) as object, rest.join('.'), value);
  return { ...object, [first]: inner };
}
