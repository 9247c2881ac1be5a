/** JSON values, and the errors of all patch types. */
export type Json = unknown;
export type JsonObject = Record<string, Json>;

/** The patch cannot be applied to this document. */
export class PatchError extends Error {
  override readonly name: string = 'PatchError';
}

/** The patch is well formed, and the object is not as it requires: a failed test, a path that does not exist. */
export class PatchRefusedError extends PatchError {
  override readonly name = 'PatchRefusedError';
}

/** The patch exceeds a limit on work or size. */
export class PatchTooLargeError extends PatchError {
  override readonly name = 'PatchTooLargeError';
}

export const isObject = (value: Json): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Sets a member, even one named `__proto__`. */
export function define(object: JsonObject, key: string, value: Json): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}
