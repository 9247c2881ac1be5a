/** `dataplane apply`: create, or change what the manifests say. */

import type { Args, Command } from '../args/args.ts';
import { usageError } from '../errors.ts';
import { note, print } from '../output/output.ts';
import { NAMESPACE_OPTION, namespaceOf, withClient } from '../with-client.ts';

export const command: Command = {
  usage: ['apply -f FILE… [-n NAMESPACE]'],
  about: `Create the objects the manifests describe, or change those that are there. All documents of all files are checked
before the first is applied, and when one is refused none is. What an earlier apply set and the manifest no longer has is removed; what others set stays.`,
  options: {
    file: { short: 'f', value: 'FILE', multiple: true, help: 'a file, a directory, or - for stdin' },
    recursive: { short: 'R', help: 'directories with all below them' },
    ...NAMESPACE_OPTION,
    'dry-run': { help: 'ask the cluster whether it would, and change nothing' },
    help: { short: 'h', help: 'this text' },
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
  for (const warning of documents.flatMap((document) => document.warnings)) note(`Warning: ${warning}`);
  const dryRun = args.flag('dry-run');
  await withClient(async (client) => {
    for (const { name, outcome } of await applyAll(client, documents, { dryRun })) {
      print(`${name} ${outcome}${dryRun ? ' (dry run)' : ''}`);
    }
  });
}
