/** What several kinds of rows have in common: labels, selectors, templates, lists cut short. */
import type { KubeObject, LabelSelector, PodTemplate } from '../types/objects.ts';
import { ageOf } from './age.ts';

export type Cell = string | number | boolean;

/** How the objects of one kind become rows. A column's name that begins with `+` is shown with `-o wide` only. */
export interface Columns<T> {
  names: readonly string[];
  row: (object: T, nowMs: number) => readonly Cell[];
}

export const NONE = '<none>';
export const UNSET = '<unset>';

export const age = ({ metadata }: KubeObject, nowMs: number): string => ageOf(metadata.creationTimestamp, nowMs);
export const orNone = (text: string | undefined): string => (text ? text : NONE);
export const size = (map: object | undefined): number => Object.keys(map ?? {}).length;
export const joined = (texts: readonly string[], otherwise: string = NONE): string => texts.join(',') || otherwise;

/** Labels and the like: `app=mc3,tier=web`. */
export function printLabels(labels: Record<string, string> | undefined): string {
  return joined(Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`));
}

export function printSelector({ matchLabels, matchExpressions }: LabelSelector): string {
  const pairs = Object.entries(matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const expressions = (matchExpressions ?? []).map(({ key, operator, values }) => {
    if (operator === 'Exists') return key;
    if (operator === 'DoesNotExist') return `!${key}`;
    return `${key} ${operator === 'In' ? 'in' : 'notin'} (${(values ?? []).join(',')})`;
  });
  return joined([...pairs, ...expressions]);
}

/** `a,b,c + 2 more...` */
export function firstThree(all: readonly string[], otherwise: string): string {
  if (all.length === 0) return otherwise;
  const shown = all.slice(0, 3).join(',');
  return all.length > 3 ? `${shown} + ${all.length - 3} more...` : shown;
}

/** The cells Containers and Images. */
export function containerCells(template: PodTemplate | undefined): [string, string] {
  const containers = template?.spec?.containers ?? [];
  return [containers.map(({ name }) => name).join(','), containers.map(({ image }) => image).join(',')];
}
