/**
 * Several manifests as one: all of them are applied, or none. Each is asked for first without changing anything, which
 * finds nearly all that the cluster may refuse; what only shows when two of them meet is undone.
 */
import type { ApiClient } from '../api/client/client.ts';
import { ApiError } from '../api/errors.ts';
import { resourceOfKind } from '../api/resources.ts';
import type { Kind, KubeObject } from '../api/types/objects.ts';
import { applyObject, type Outcome } from './apply-object.ts';
import { printName } from './args/kinds.ts';
import type { Document } from './manifests.ts';

/** What became of one document. */
export interface Applied {
  /** `service/mc3` */
  name: string;
  outcome: Outcome;
}

interface Done extends Applied {
  object: KubeObject;
  before: KubeObject | undefined;
}

/**
 * Applies all documents in their order.
 * @param dryRun ask only
 * @throws ApiError naming the document; nothing has been changed then
 */
export async function applyAll(client: ApiClient, documents: readonly Document[], dryRun: boolean): Promise<Applied[]> {
  const namespaces = new Set(
    documents.filter(({ object }) => object.kind === 'Namespace').map(({ object }) => object.metadata.name),
  );
  const asked: Applied[] = [];
  for (const document of documents) {
    const { namespace } = document.object.metadata;
    // What lies in a namespace of the same files can be asked for only when that is there.
    const early = (error: Error) =>
      error instanceof ApiError && error.code === 404 && namespace !== undefined && namespaces.has(namespace);
    const result = await applyOne(client, document, true).catch((error: Error) => {
      if (!early(error)) throw error;
      return { name: nameOf(document), outcome: 'created' as const };
    });
    asked.push({ name: result.name, outcome: result.outcome });
  }
  if (dryRun) return asked;

  const done: Done[] = [];
  try {
    for (const document of documents) done.push(await applyOne(client, document, false));
  } catch (error) {
    for (const step of done.reverse()) await undo(client, step);
    throw error;
  }
  return done.map(({ name, outcome }) => ({ name, outcome }));
}

const nameOf = ({ object }: Document): string => printName(resourceOfKind(object.kind)!, object.metadata.name!);

async function applyOne(client: ApiClient, document: Document, dryRun: boolean): Promise<Done> {
  const name = nameOf(document);
  try {
    return { name, ...(await applyObject(client, document.object, { dryRun })) };
  } catch (error) {
    // The document first, then what the cluster says of it.
    if (error instanceof ApiError) error.message = `${document.where}: ${name}: ${error.message}`;
    throw error;
  }
}

/** Take back what was done, as far as nobody else has changed or removed it meanwhile. */
async function undo(client: ApiClient, { outcome, object, before }: Done): Promise<void> {
  const { name, namespace, uid, resourceVersion } = object.metadata;
  const where = namespace === undefined ? {} : { namespace };
  try {
    if (outcome === 'created') {
      const preconditions = { uid };
      await client.delete(object.kind as Kind, name, { ...where, gracePeriodSeconds: 0, preconditions });
    } else if (outcome === 'configured' && before !== undefined) {
      await client.update({ ...before, metadata: { ...before.metadata, resourceVersion } });
    }
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}
