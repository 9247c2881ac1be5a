/**
 * Applies several manifests together: all of them or none. Each is first sent as a dry run, which finds nearly all
 * reasons for which the cluster may refuse it. A conflict between two of them is found only on the second pass, which
 * is then undone.
 */
import type { ApiClient } from '../../api/client/client.ts';
import { ApiError } from '../../api/errors.ts';
import { displayName, resourceOfKind } from '../../api/resources.ts';
import type { Kind, KubeObject } from '../../api/types/objects.ts';
import { applyObject, type Outcome } from './apply-object.ts';
import type { Document } from './manifests.ts';

/** The result for one document. */
export interface Applied {
  /** `service/mc3` */
  name: string;
  outcome: Outcome;
}

interface Done extends Applied {
  object: KubeObject;
  before: KubeObject | undefined;
}

export interface ApplyAllOptions {
  /** Validate only. */
  dryRun?: boolean;
  signal?: AbortSignal;
  onProgress?: (text: string) => void;
}

/**
 * Applies all documents in their order.
 * @throws ApiError that names the document, or the signal's reason; in both cases nothing is changed
 */
export async function applyAll(
  client: ApiClient,
  documents: readonly Document[],
  { dryRun = false, signal, onProgress }: ApplyAllOptions = {},
): Promise<Applied[]> {
  const namespaces = new Set(
    documents.filter(({ object }) => object.kind === 'Namespace').map(({ object }) => object.metadata.name),
  );
  const foreseen: Applied[] = [];
  for (const document of documents) {
    signal?.throwIfAborted();
    const { namespace } = document.object.metadata;
    // The dry run did not create the namespace, so its absence is no error of the objects in it.
    const early = (error: Error) =>
      error instanceof ApiError && error.code === 404 && namespace !== undefined && namespaces.has(namespace);
    const result = await applyOne(client, document, true).catch((error: Error) => {
      if (!early(error)) throw error;
      return { name: nameOf(document), outcome: 'created' as const };
    });
    foreseen.push({ name: result.name, outcome: result.outcome });
  }
  if (dryRun) return foreseen;

  const done: Done[] = [];
  try {
    for (const document of documents) {
      signal?.throwIfAborted();
      onProgress?.(`applying ${nameOf(document)}…`);
      done.push(await applyOne(client, document, false));
    }
  } catch (error) {
    for (const step of done.reverse()) await undo(client, step);
    throw error;
  }
  return done.map(({ name, outcome }) => ({ name, outcome }));
}

const nameOf = ({ object }: Document): string => displayName(resourceOfKind(object.kind)!, object.metadata.name!);

async function applyOne(client: ApiClient, document: Document, dryRun: boolean): Promise<Done> {
  const name = nameOf(document);
  try {
    return { name, ...(await applyObject(client, document.object, { dryRun })) };
  } catch (error) {
    // The document, then the API's message.
    if (error instanceof ApiError) error.message = `${document.where}: ${name}: ${error.message}`;
    throw error;
  }
}

/** Undoes one step, unless the object has been changed or removed by others since. */
async function undo(client: ApiClient, { outcome, object, before }: Done): Promise<void> {
  const { name, namespace, uid, resourceVersion } = object.metadata;
  const where = namespace === undefined ? {} : { namespace };
  try {
    if (outcome === 'created') {
      const preconditions = { uid };
      const options = { ...where, gracePeriodSeconds: 0, preconditions, propagationPolicy: 'Background' as const };
      await client.delete(object.kind as Kind, name, options);
    } else if (outcome === 'configured' && before !== undefined) {
      await client.update({ ...before, metadata: { ...before.metadata, resourceVersion } });
    }
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}
