/** Cells that several kinds share: labels, selectors, pod templates, shortened lists. */
import type { KubeObject, LabelSelector, PodTemplate } from '../types/objects.ts';
import { ageOf } from './age.ts';

export type Cell = string | number | boolean;

/** The table columns of a kind. A column whose name begins with `+` is shown with `-o wide` only. */
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

/** Labels, sorted: `app=mc3,tier=web` (apimachinery/pkg/labels, Set.String). */
export function printLabels(labels: Record<string, string> | undefined): string {
  const pairs = Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return joined(pairs.sort());
}

/** A selector, its requirements and their values sorted (apimachinery/pkg/labels, internalSelector.String). */
export function printSelector({ matchLabels, matchExpressions }: LabelSelector): string {
  const requirements = Object.entries(matchLabels ?? {}).map(([key, value]) => ({ key, text: `${key}=${value}` }));
  for (const { key, operator, values = [] } of matchExpressions ?? []) {
    const set = `(${[...values].sort().join(',')})`;
    if (operator === 'Exists') requirements.push({ key, text: key });
    else if (operator === 'DoesNotExist') requirements.push({ key, text: `!${key}` });
    else requirements.push({ key, text: `${key} ${operator === 'In' ? 'in' : 'notin'} ${set}` });
  }
  requirements.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  return joined(requirements.map(({ text }) => text));
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
