/** JSON merge patch (RFC 7396). Changes neither argument; the result shares the unchanged parts with them. */
import { define, isObject, type Json, type JsonObject } from './json.ts';

/** RFC 7396 §2. */
export function mergePatch(target: Json, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const result: JsonObject = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else define(result, key, mergePatch(result[key], value));
  }
  return result;
}
