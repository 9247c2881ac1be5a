/** The rows of `dataplane get`, with the API's columns. */
import { printLabels } from '../../api/tables/cells.ts';
import { columnsOf } from '../../api/tables/table.ts';
import type { Kind, KubeObject } from '../../api/types/objects.ts';

export interface TableOptions {
  wide: boolean;
  /** Whether the first column is NAMESPACE. */
  namespaces: boolean;
  showLabels: boolean;
  /** Whether the first row is a header. */
  headers: boolean;
}

/** The rows of a table of one kind. */
export function tableRows(
  kind: Kind,
  objects: readonly KubeObject[],
  options: TableOptions,
  nowMs: number,
): string[][] {
  const { names, row } = columnsOf(kind);
  const shown = names.map((name, i) => ({ name, i })).filter(({ name }) => options.wide || !name.startsWith('+'));
  const headers = shown.map(({ name }) => name.replace('+', '').toUpperCase());
  const line = (cells: readonly string[], namespace: string, labels: string) => [
    ...(options.namespaces ? [namespace] : []),
    ...cells,
    ...(options.showLabels ? [labels] : []),
  ];
  const rows = objects.map((object) => {
    const cells = row(object, nowMs);
    const texts = shown.map(({ i }) => String(cells[i] ?? ''));
    return line(texts, object.metadata.namespace ?? '', printLabels(object.metadata.labels));
  });
  return options.headers ? [line(headers, 'NAMESPACE', 'LABELS'), ...rows] : rows;
}
