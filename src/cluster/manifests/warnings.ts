/** Warnings about manifests; equal warnings about the same field of several objects are one line. */
import { type FieldWarning, warningText } from '../../api/schema/schema.ts';
import type { Document } from './manifests.ts';

/** `FILE: document 2: spec.priorityClassName: …`; for several objects the field, the count and the first document. */
export function warningLines(documents: readonly Document[]): string[] {
  const groups = new Map<string, { where: string; warning: FieldWarning; count: number }>();
  for (const { where, warnings } of documents) {
    for (const warning of warnings) {
      const key = warningText({ ...warning, path: warning.path.replace(/\[\d+\]/g, '[]') });
      const group = groups.get(key);
      if (group === undefined) groups.set(key, { where, warning, count: 1 });
      else group.count++;
    }
  }
  return [...groups].map(([key, { where, warning, count }]) =>
    count === 1 ? `${where}: ${warningText(warning)}` : `${key} (${count} times, first in ${where})`,
  );
}
