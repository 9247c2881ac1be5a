/** What a request brings along: read within a limit, parsed, and applied when it is a patch. */
import type { IncomingMessage } from 'node:http';
import { badRequest, tooLarge, unsupportedMediaType } from '../errors.ts';
import type { KubeObject } from '../types/objects.ts';
import { jsonPatch, mergePatch, strategicMergePatch } from './patches.ts';

/** As etcd's default limit of a request, with room for the wrapping (apiserver: 3 MB). */
const MAX_BODY_BYTES = 3 * 1024 * 1024;

/** The body as text. @throws ApiError 413 when it is longer than 3 MB */
export async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw tooLarge(MAX_BODY_BYTES);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Media type of `kubectl apply --server-side`. */
export const APPLY = 'application/apply-patch+yaml';

const PATCHES: Record<string, (target: unknown, patch: unknown) => unknown> = {
  'application/merge-patch+json': mergePatch,
  'application/json-patch+json': jsonPatch,
  'application/strategic-merge-patch+json': strategicMergePatch,
  // Without ownership of fields, to apply is to create or to merge: a field left out later is not removed.
  [APPLY]: strategicMergePatch,
};

/** The target changed by a patch of this media type. @throws ApiError 415, PatchError */
export function applyPatch(mediaType: string, target: KubeObject, patch: unknown): unknown {
  const apply = PATCHES[mediaType];
  if (apply === undefined) throw unsupportedMediaType(mediaType, Object.keys(PATCHES));
  return apply(target, patch);
}

/** @throws ApiError 400 */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badRequest(`the body is not JSON: ${(error as Error).message}`);
  }
}

/** kubectl sends YAML here, our own client JSON, which is YAML too. @throws ApiError 400 */
export async function parseYaml(text: string): Promise<unknown> {
  try {
    return JSON.parse(text);
  } catch {
    const { parse } = await import('yaml');
    try {
      return parse(text);
    } catch (error) {
      throw badRequest(`the body is not YAML: ${(error as Error).message}`);
    }
  }
}
