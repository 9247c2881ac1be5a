/**
 * The JSONPath of printer columns: `.spec.size`, `.status.conditions[?(@.type=="Ready")].status`, `.list[0]`,
 * `.list[*]`.
 */

const STEP = /\.([\w$-]+)|\.?\['([^']+)'\]|\[(\d+)\]|\[(\*)\]|\[\?\(@\.([\w.-]+)\s*==\s*["']([^"']*)["']\)\]/y;

/** The values at a path; empty if the path is not of the supported forms. */
export function valuesAt(root: unknown, path: string): unknown[] {
  let values = [root];
  let at = 0;
  while (at < path.length) {
    STEP.lastIndex = at;
    const match = STEP.exec(path);
    if (match === null) return [];
    at += match[0].length;
    const [, name, quoted, index, star, field, wanted] = match;
    const member = name ?? quoted;
    values = values.flatMap((value) => {
      if (typeof value !== 'object' || value === null) return [];
      if (member !== undefined) return Object.hasOwn(value, member) ? [(value as Record<string, unknown>)[member]] : [];
      const items = Object.values(value);
      if (star !== undefined) return items;
      if (index !== undefined) return items.slice(Number(index), Number(index) + 1);
      return items.filter((item) => valuesAt(item, `.${field}`).some((inner) => String(inner) === wanted));
    });
  }
  return values;
}
