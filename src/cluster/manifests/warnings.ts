/** Warnings about manifests: the same remark about the same field is one line, however many objects have it. */
import { type FieldWarning, warningText } from '../../api/schema/schema.ts';
import type { Document } from './manifests.ts';

/** `FILE: document 2: spec.priorityClassName: …`; for several, the field once, how often, and where the first is. */
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
