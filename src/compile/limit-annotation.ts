/** Reads annotations of a pod that limit it. */
import type { Pod } from '../api/types/objects.ts';

export interface LimitFormat {
  /** @returns undefined for text that is no valid limit */
  readonly parse: (text: string) => number | undefined;
  /** What is valid, for messages. */
  readonly expected: string;
}

/**
 * @param pod undefined: not known yet, and without limits until then
 * @param problems gets a sentence about each annotation that is ignored
 * @returns the limit in an annotation; 0 without one
 */
export function limitReader(pod: Pod | undefined, { parse, expected }: LimitFormat, problems: string[]) {
  return (annotation: string): number => {
    const text = pod?.metadata.annotations?.[annotation];
    if (text === undefined) return 0;
    const value = parse(text);
    if (value === undefined) problems.push(`annotation ${annotation}: "${text}" is ignored: expected ${expected}`);
    return value ?? 0;
  };
}
