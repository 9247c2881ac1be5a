/** `dataplane apply`: create objects from manifests, or update them. */
import type { Document } from '../../cluster/manifests/manifests.ts';
import type { Args, Command } from '../args/args.ts';
import { usageError } from '../errors.ts';
import { note, print } from '../output/output.ts';
import { NAMESPACE_OPTION, namespaceOf, withClient } from '../with-client.ts';

export const command: Command = {
  usage: ['apply -f FILE… [-n NAMESPACE]'],
  about: `Create the objects of the manifests, or update those that exist. All documents of all files are checked before the
first is applied; if one is refused, none is applied. Fields that an earlier apply set and the manifest no longer has
are removed; fields set by others stay.`,
  options: {
    file: { short: 'f', value: 'FILE', multiple: true, help: 'a file, a directory, or - for stdin' },
    recursive: { short: 'R', help: 'read directories recursively' },
    ...NAMESPACE_OPTION,
    'dry-run': { help: 'let the cluster validate the objects without changing anything' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: ['dataplane apply -f demo/', 'cat pod.yaml | dataplane apply -f -'],
  run,
};

async function run(args: Args): Promise<void> {
  const paths = [...args.texts('file')];
  if (paths.length === 0) throw usageError('dataplane apply: -f FILE is missing', 'see `dataplane apply --help`');
  if (args.operands[0] !== undefined)
    throw usageError(`unexpected argument "${args.operands[0]}"`, 'give each file its own -f');
  const namespace = namespaceOf(args);
  const { inOrder, parseManifests, readSources } = await import('../../cluster/manifests/manifests.ts');
  const { applyAll } = await import('../../cluster/manifests/apply-all.ts');
  const documents = inOrder(parseManifests(readSources(paths, args.flag('recursive')), namespace));
  if (documents.length === 0) throw usageError(`no objects in ${paths.join(', ').replace(/^-$/, 'stdin')}`);
  const { warningLines } = await import('../../cluster/manifests/warnings.ts');
  for (const line of [...warningLines(documents), ...(await imageWarnings(documents))]) note(`Warning: ${line}`);
  const dryRun = args.flag('dry-run');
  await withClient(async (client) => {
    for (const { name, outcome } of await applyAll(client, documents, { dryRun })) {
      print(`${name} ${outcome}${dryRun ? ' (dry run)' : ''}`);
    }
  });
}

/**
 * Warnings about images that the cluster of this machine cannot run. The API accepts them, as in Kubernetes; the pods
 * would fail later. With DATAPLANE_API there are none: the catalogue of another cluster is not known here.
 */
async function imageWarnings(documents: readonly Document[]): Promise<string[]> {
  const { API_SOCKET, apiTarget, readClusterFile } = await import('../../cluster/state.ts');
  const cluster = apiTarget() === API_SOCKET ? readClusterFile() : undefined;
  if (cluster === undefined) return [];
  const { missingImages } = await import('../../cluster/manifests/placement.ts');
  return missingImages(documents, cluster.catalogue);
}
