/** Objects as a `Table` (meta.k8s.io/v1), the form that kubectl, k9s and Lens request, with the server's columns. */
import { METRICS_COLUMNS } from '../metrics/resources.ts';
import type { Kind, KubeObject } from '../types/objects.ts';
import { age, type Columns } from './cells.ts';
import { COLUMNS } from './columns.ts';
import { STORED_COLUMNS } from './stored-columns.ts';

/** How much of its object a row contains (query parameter `includeObject`). */
export type IncludeObject = 'None' | 'Metadata' | 'Object';

const PLAIN: Columns<KubeObject> = {
  names: ['Name', 'Age'],
  row: (object, nowMs) => [object.metadata.name, age(object, nowMs)],
};

export function columnsOf(key: Kind): Columns<KubeObject> {
  return (COLUMNS[key] as Columns<KubeObject> | undefined) ?? STORED_COLUMNS[key] ?? METRICS_COLUMNS[key] ?? PLAIN;
}

/** Columns whose cells are numbers. */
const NUMBERS = new Set(
  'Data Secrets Desired Current Up-to-date Available Revision Active MaxPods Replicas Drivers Value Validations Webhooks'
    .split(' ')
    .concat('Allowed Disruptions'),
);

const EVERY = {
  priority: 0,
  description: '',
};

export function columnDefinitions({ names }: Columns<KubeObject>): object[] {
  return names.map((text) => {
    const name = text.replace('+', '');
    return {
      name,
      type: NUMBERS.has(name) ? 'integer' : 'string',
      format: name === 'Name' ? 'name' : '',
      ...EVERY,
      ...(text.startsWith('+') && { priority: 1 }),
    };
  });
}

export function tableRow(
  columns: Columns<KubeObject>,
  object: KubeObject,
  include: IncludeObject,
  nowMs: number,
): object {
  const part = include === 'Object' ? object : metadataOnly(object);
  return { cells: columns.row(object, nowMs), ...(include !== 'None' && { object: part }) };
}

/** The object as PartialObjectMetadata: metadata only. */
export function metadataOnly(object: KubeObject): KubeObject {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata };
}
