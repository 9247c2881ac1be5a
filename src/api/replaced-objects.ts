/** Lists of objects as they would be with others applied. */
import type { KubeObject } from './types/objects.ts';

/** What identifies an object: `Pod default/web`. */
export const identityOf = ({ kind, metadata }: KubeObject): string =>
  `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;

/** `now` with `given` in place of the objects of the same kind and name; new ones at the end. */
export const withReplaced = <T extends KubeObject>(now: readonly T[], given: readonly T[]): T[] => [
  ...new Map([...now, ...given].map((one) => [identityOf(one), one])).values(),
];
