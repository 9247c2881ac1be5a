/** `dataplane apply`: create objects from manifests, or update them. */
import type { ApiClient } from '../../api/client/client.ts';
import type { Document } from '../../cluster/manifests/manifests.ts';
import { DEFAULT_TIMEOUT_SECONDS } from '../../cluster/timeout.ts';
import type { WaitOptions } from '../../cluster/wait-ready.ts';
import type { Args, Command } from '../args/args.ts';
import { jobReadiness, WAIT_FOR_JOBS, waitSeconds } from '../args/wait-args.ts';
import { usageError } from '../errors.ts';
import { note, Progress, print } from '../output/output.ts';
import { NAMESPACE_OPTION, namespaceOf, withClient } from '../with-client.ts';

export const command: Command = {
  usage: ['apply -f FILE… [-n NAMESPACE]'],
  about: `Create the objects of the manifests, or update those that exist. All documents of all files are checked before the
first is applied; if one is refused, none is applied. Fields that an earlier apply set and the manifest no longer has
are removed; fields set by others stay. Returns at once, unless --wait is given.`,
  options: {
    file: { short: 'f', value: 'FILE', multiple: true, help: 'a file, a directory, or - for stdin' },
    recursive: { short: 'R', help: 'read directories recursively' },
    ...NAMESPACE_OPTION,
    wait: {
      value: 'SECONDS',
      optionalValue: true,
      help: `wait until everything applied is Ready, for at most SECONDS (default ${DEFAULT_TIMEOUT_SECONDS})`,
    },
    ...WAIT_FOR_JOBS,
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
  const waits = args.has('wait') || args.flag('wait-for-jobs');
  const timeoutSeconds = waitSeconds(args) ?? DEFAULT_TIMEOUT_SECONDS;
  if (waits && dryRun) throw usageError('--dry-run changes nothing that could be waited for', 'leave out --wait');
  await withClient(async (client) => {
    for (const { name, outcome } of await applyAll(client, documents, { dryRun })) {
      print(`${name} ${outcome}${dryRun ? ' (dry run)' : ''}`);
    }
    if (waits) await waitFor(client, documents, { timeoutSeconds, jobs: jobReadiness(args) });
  });
}

async function waitFor(
  client: ApiClient,
  documents: readonly Document[],
  options: Pick<WaitOptions, 'timeoutSeconds' | 'jobs'>,
): Promise<void> {
  const { waitUntilReady } = await import('../../cluster/wait-ready.ts');
  const { ClusterError } = await import('../../cluster/errors.ts');
  const progress = new Progress();
  try {
    await waitUntilReady(
      client,
      [],
      documents.map(({ object }) => object),
      {
        ...options,
        deadline: Date.now() + options.timeoutSeconds * 1000,
        signal: new AbortController().signal,
        onProgress: (text) => progress.show(text),
      },
    );
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    throw new ClusterError(error.code, error.message, 'everything that was applied stays as it is', error.details);
  } finally {
    progress.clear();
  }
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
