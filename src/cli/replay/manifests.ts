/** `dataplane replay --diff MANIFESTS`: reads the manifests, and makes the tables with them in force. */
import { identityOf } from '../../api/replaced-objects.ts';
import type { KubeObject } from '../../api/types/objects.ts';
import { parseManifests, readSources } from '../../cluster/manifests/manifests.ts';
import type { Snapshot } from '../../observe/replay/snapshot-file.ts';
import { objectText, WHAT_IF_KINDS } from '../../ui/applied-objects.ts';
import { failed, usageError } from '../errors.ts';
import { type Changed, changed } from './changed-tables.ts';

interface ManifestOptions {
  readonly namespace: string;
  /** The objects are deleted, not applied. */
  readonly remove: boolean;
}

/** @throws CliError if they cannot be read, or contain something that does not fit the recording */
export function withManifests(
  path: string,
  { objects, nodes }: Snapshot,
  { namespace, remove }: ManifestOptions,
): Changed {
  if (objects === undefined) {
    throw failed(
      'the snapshot does not contain the objects of the API, which did not respond when it was taken',
      'take it again, or give another build to --diff',
    );
  }
  const given = parseManifests(readSources([path]), namespace).map(({ object }) => object as KubeObject);
  if (given.length === 0) throw usageError(`${path} contains no object`);
  const known = new Set(objects.pods.map(identityOf));
  for (const one of given) {
    if (!WHAT_IF_KINDS.includes(one.kind)) {
      throw usageError(`${path}: ${objectText(one)} has no part in a replay`, `expected ${WHAT_IF_KINDS.join(', ')}`);
    }
    if (one.kind === 'Pod' && !known.has(identityOf(one))) {
      throw usageError(
        `${path}: ${objectText(one)} is not in the snapshot`,
        'a recording contains only the pods that it was made with',
      );
    }
  }
  const made = changed(objects, { objects: given, remove });
  // Once, so that what does not fit is reported before the replay.
  for (const node of nodes) {
    try {
      made.tables(node);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw failed(`${path} cannot be put in force on node ${node.node}: ${error.message}`);
    }
  }
  return made;
}
