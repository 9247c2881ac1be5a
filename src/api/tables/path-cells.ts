/**
 * Cells read from any object by a path such as `spec.replicas`, for kinds whose fields have no types here. A path that
 * leads nowhere gives the cell's default.
 */
import type { KubeObject, LabelSelector, PodTemplate } from '../types/objects.ts';
import { ageOf } from './age.ts';
import { type Cell, type Columns, containerCells, joined, NONE, printLabels, printSelector, size } from './cells.ts';

export type Json = Record<string, unknown>;

/** One cell of an object's row. */
export type Read = (object: Json, nowMs: number) => Cell;

/** The value at `spec.replicas`; undefined when it is missing or null. */
export function at(object: unknown, path: string): unknown {
  let value = object;
  for (const part of path.split('.')) value = (value as Json | undefined | null)?.[part];
  return value ?? undefined;
}

/** The list at a path; empty when it is missing. */
export const list = (o: unknown, path: string): Json[] => (at(o, path) as Json[] | undefined) ?? [];

export const name: Read = (o) => at(o, 'metadata.name') as string;
export const age: Read = (o, nowMs) => ageOf(at(o, 'metadata.creationTimestamp') as string, nowMs);
export const created: Read = (o) => at(o, 'metadata.creationTimestamp') as string;

export const text =
  (path: string, otherwise: string = ''): Read =>
  (o) =>
    String(at(o, path) ?? otherwise);

export const number =
  (path: string, otherwise: number = 0): Read =>
  (o) =>
    Number(at(o, path) ?? otherwise);

export const flag =
  (path: string, otherwise: boolean): Read =>
  (o) =>
    (at(o, path) as boolean | undefined) ?? otherwise;

/** How many elements or members the value at a path has. */
export const count =
  (path: string): Read =>
  (o) =>
    size(at(o, path) as object);

/** A list of texts, joined by commas. */
export const names =
  (path: string, otherwise: string = NONE): Read =>
  (o) =>
    joined((at(o, path) as string[] | undefined) ?? [], otherwise);

/** A map of labels: `app=mc3,tier=web`. */
export const labels =
  (path: string): Read =>
  (o) =>
    printLabels(at(o, path) as Record<string, string> | undefined);

/** A LabelSelector. */
export const selector =
  (path: string): Read =>
  (o) =>
    printSelector((at(o, path) as LabelSelector | undefined) ?? {});

/** The time since a timestamp, as an age. */
export const since =
  (path: string): Read =>
  (o, nowMs) => {
    const time = at(o, path) as string | undefined;
    return time === undefined ? NONE : ageOf(time, nowMs);
  };

/** The names of the containers in the pod template at a path. */
export const containers =
  (path: string): Read =>
  (o) =>
    containerCells(at(o, path) as PodTemplate)[0];

/** The images of the containers in the pod template at a path. */
export const images =
  (path: string): Read =>
  (o) =>
    containerCells(at(o, path) as PodTemplate)[1];

/** The columns of a kind, from their names and cells, left to right. */
export function table(cells: Record<string, Read>): Columns<KubeObject> {
  const reads = Object.values(cells);
  return { names: Object.keys(cells), row: (object, nowMs) => reads.map((read) => read(object as never, nowMs)) };
}
