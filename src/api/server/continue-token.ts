/**
 * The `continue` token of a paginated list: its version and the last name returned (apiserver/pkg/storage/continue.go).
 */
import { badRequest } from '../errors.ts';
import type { KubeObject } from '../types/objects.ts';

export interface Position {
  /** -1: the current version. */
  version: number;
  /** `namespace/name` of the last object returned. */
  after: string;
}

export const keyOf = ({ metadata }: KubeObject): string => `${metadata.namespace ?? ''}/${metadata.name}`;

export function encodePosition({ version, after }: Position): string {
  return Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: version, start: after })).toString('base64url');
}

/** @throws ApiError 400 for a token that is malformed */
export function decodePosition(token: string): Position {
  try {
    const { v, rv, start } = JSON.parse(Buffer.from(token, 'base64url').toString('utf8')) as Record<string, unknown>;
    if (v === 'meta.k8s.io/v1' && Number.isSafeInteger(rv) && typeof start === 'string') {
      return { version: rv as number, after: start };
    }
  } catch {
    // Refused below.
  }
  throw badRequest('continue key is not valid');
}
