/** `dataplane delete`: by manifest, by name or by label. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiClient } from '../../api/client/client.ts';
import { ApiError } from '../../api/errors.ts';
import { type Resource, resourceOfKind } from '../../api/resources.ts';
import type { Args, Command } from '../args/args.ts';
import { needResource, readOperands } from '../args/kinds.ts';
import { seconds, wholeNumber } from '../args/values.ts';
import { failed, usageError } from '../errors.ts';
import { print } from '../output/output.ts';
import { NAMESPACE_OPTION, namespaceOf, withClient } from '../with-client.ts';

const LOOK_MS = 50;

export const command: Command = {
  usage: ['delete -f FILE…', 'delete KIND NAME… [-n NAMESPACE]', 'delete KIND (-l LABELS | --all)'],
  about: `Delete objects and wait until they are gone. Pods get their grace period to terminate.`,
  options: {
    file: { short: 'f', value: 'FILE', multiple: true, help: 'a file, a directory, or - for stdin' },
    recursive: { short: 'R', help: 'read directories recursively' },
    ...NAMESPACE_OPTION,
    selector: { short: 'l', value: 'LABELS', help: 'all objects of the kind with these labels' },
    all: { help: 'all objects of the kind in the namespace' },
    'grace-period': { value: 'SECONDS', help: "overrides the pods' grace period; 0 removes them at once" },
    now: { help: 'the same as --grace-period=1' },
    'ignore-not-found': { help: 'treat an object that does not exist as deleted' },
    'no-wait': { help: 'do not wait until they are gone' },
    timeout: { value: 'SECONDS', help: 'how long to wait (default 120)' },
    help: { short: 'h', help: 'show this help' },
  },
  run,
};

interface Target {
  resource: Resource;
  name: string;
  namespace: string | undefined;
}

async function run(args: Args): Promise<void> {
  const namespace = namespaceOf(args);
  const grace = args.value('grace-period', wholeNumber(0, 86_400, 'seconds')) ?? (args.flag('now') ? 1 : undefined);
  const timeoutSeconds = args.value('timeout', seconds) ?? 120;
  await withClient(async (client) => {
    const targets = await findTargets(client, args, namespace);
    const ending: (Target & { uid: string })[] = [];
    for (const target of targets) {
      const gone = await remove(client, target, grace, args.flag('ignore-not-found'));
      if (gone !== undefined) ending.push({ ...target, uid: gone });
    }
    if (!args.flag('no-wait')) await waitUntilGone(client, ending, timeoutSeconds);
  });
}

async function findTargets(client: ApiClient, args: Args, namespace: string): Promise<Target[]> {
  const paths = args.texts('file');
  const home = (resource: Resource) => (resource.namespaced ? namespace : undefined);
  if (paths.length > 0) {
    if (args.operands.length > 0) throw usageError('dataplane delete: give either -f FILE or names, not both');
    const { inOrder, parseManifests, readSources } = await import('../../cluster/manifests/manifests.ts');
    const documents = inOrder(parseManifests(readSources(paths, args.flag('recursive')), namespace));
    return documents.reverse().map(({ object }) => {
      const resource = resourceOfKind(object.kind)!;
      return { resource, name: object.metadata.name!, namespace: object.metadata.namespace };
    });
  }
  const labelSelector = args.text('selector');
  if (labelSelector !== undefined || args.flag('all')) {
    const [kind, extra] = args.operands;
    if (kind === undefined || extra !== undefined) throw usageError('dataplane delete: -l and --all need one KIND');
    const resource = needResource(kind);
    const found = await client.list(resource.kind, { namespace: home(resource), labelSelector });
    return found.items.map(({ metadata }) => ({ resource, name: metadata.name, namespace: metadata.namespace }));
  }
  const { objects } = readOperands(args.operands);
  if (objects.length === 0) throw usageError('dataplane delete: -f FILE, or KIND NAME…, is missing');
  return objects.map(({ resource, name }) => ({ resource, name, namespace: home(resource) }));
}

/** Returns the uid of the object that is being deleted; undefined if it did not exist. */
async function remove(client: ApiClient, target: Target, grace: number | undefined, lenient: boolean) {
  const { resource, name, namespace } = target;
  try {
    const object = await client.delete(resource.kind, name, {
      ...(namespace && { namespace }),
      ...(grace !== undefined && { gracePeriodSeconds: grace }),
      // As kubectl: without it the pods of a Job or ReplicationController would stay.
      propagationPolicy: 'Background',
    });
    print(`${resource.singular} "${name}" deleted`);
    return object.metadata.uid;
  } catch (error) {
    if (lenient && error instanceof ApiError && error.code === 404) return undefined;
    throw error;
  }
}

async function waitUntilGone(
  client: ApiClient,
  targets: readonly (Target & { uid: string })[],
  timeoutSeconds: number,
) {
  const deadline = Date.now() + timeoutSeconds * 1000;
  for (const { resource, name, namespace, uid } of targets) {
    while ((await client.find(resource.kind, name, namespace))?.metadata.uid === uid) {
      if (Date.now() > deadline) {
        throw failed(
          `${resource.singular} "${name}" still exists after ${timeoutSeconds} s`,
          'see `dataplane describe`',
        );
      }
      await sleep(LOOK_MS);
    }
  }
}
