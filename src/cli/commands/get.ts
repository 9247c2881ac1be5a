/** `dataplane get`: objects as tables, JSON or YAML. */
import type { ApiClient } from '../../api/client/client.ts';
import { displayName, type Resource } from '../../api/resources.ts';
import type { KubeObject } from '../../api/types/objects.ts';
import type { Args, Command } from '../args/args.ts';
import { readOperands } from '../args/kinds.ts';
import { usageError } from '../errors.ts';
import { type TableOptions, tableRows } from '../output/columns.ts';
import { type Format, formatOf, note, OUTPUT_OPTION, print, printObject } from '../output/output.ts';
import { layOut, tableText } from '../output/table.ts';
import { NAMESPACE_OPTION, namespaceOf, withClient } from '../with-client.ts';

export const command: Command = {
  usage: ['get KIND [NAME…] [-n NAMESPACE | -A] [-o FORMAT]', 'get KIND/NAME…'],
  about: `Show objects. KIND is a name such as pod, pods or po, several with commas, or all.`,
  options: {
    ...NAMESPACE_OPTION,
    'all-namespaces': { short: 'A', help: 'objects of all namespaces' },
    selector: { short: 'l', value: 'LABELS', help: 'only those with these labels, such as app=mc3' },
    'field-selector': { value: 'FIELDS', help: 'only those with these fields, such as spec.nodeName=n1' },
    ...OUTPUT_OPTION,
    watch: { short: 'w', help: 'print every change until Ctrl-C' },
    'show-labels': { help: 'add a column of labels' },
    'no-headers': { help: 'omit the header row' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: ['dataplane get pods -A -o wide', 'dataplane get svc,ep', 'dataplane get pod mc3 -o yaml'],
  run,
};

interface Found {
  resource: Resource;
  objects: KubeObject[];
  resourceVersion: string;
}

async function run(args: Args): Promise<void> {
  const format = formatOf(args.text('output'));
  const { resources, objects } = readOperands(args.operands);
  if (resources.length === 0 && objects.length === 0) {
    throw usageError('dataplane get: KIND is missing', 'such as `dataplane get pods`');
  }
  const everywhere = args.flag('all-namespaces');
  if (everywhere && objects.length > 0) throw usageError('-A cannot be used with names', 'leave out -A, or the names');
  const namespace = everywhere ? undefined : namespaceOf(args);
  const table: TableOptions = {
    wide: format === 'wide',
    namespaces: everywhere,
    showLabels: args.flag('show-labels'),
    headers: !args.flag('no-headers'),
  };
  await withClient(async (client) => {
    if (objects.length > 0) {
      const found: Found[] = [];
      for (const { resource, name } of objects) {
        const object = await client.get(resource.kind, name, resource.namespaced ? namespace : undefined);
        const last = found.at(-1);
        if (last?.resource === resource) last.objects.push(object);
        else found.push({ resource, objects: [object], resourceVersion: object.metadata.resourceVersion });
      }
      await show(found, format, table, objects.length === 1);
      return;
    }
    const selection = { labelSelector: args.text('selector'), fieldSelector: args.text('field-selector') };
    const found = await Promise.all(
      resources.map(async (resource): Promise<Found> => {
        const list = await client.list(resource.kind, { ...selection, ...(resource.namespaced && { namespace }) });
        const sorted = [...list.items].sort(byName) as KubeObject[];
        return { resource, objects: sorted, resourceVersion: list.metadata.resourceVersion };
      }),
    );
    const watching = args.flag('watch');
    if (watching && (found.length > 1 || (format !== 'table' && format !== 'wide'))) {
      throw usageError('-w needs a single kind and prints a table', 'leave out -o, and give one kind');
    }
    if (!watching && (format === 'table' || format === 'wide') && found.every((f) => f.objects.length === 0)) {
      note(namespace === undefined ? 'No resources found' : noneIn(resources, namespace));
      return;
    }
    await show(found, format, table, false);
    if (watching) await watch(client, found[0]!, selection, namespace, table);
  });
}

const noneIn = (resources: readonly Resource[], namespace: string) =>
  resources.every(({ namespaced }) => !namespaced)
    ? 'No resources found'
    : `No resources found in ${namespace} namespace.`;

const byName = (a: KubeObject, b: KubeObject) => {
  const key = ({ metadata }: KubeObject) => `${metadata.namespace ?? ''}/${metadata.name}`;
  return key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0;
};

/** As kubectl prints it: without the book-keeping of field owners. */
function withoutOwners(object: KubeObject): KubeObject {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

async function show(found: readonly Found[], format: Format, table: TableOptions, single: boolean): Promise<void> {
  if (format === 'json' || format === 'yaml') {
    const all = found.flatMap(({ objects }) => objects.map(withoutOwners));
    const list = { apiVersion: 'v1', kind: 'List', items: all, metadata: { resourceVersion: '' } };
    return printObject(single ? all[0] : list, format);
  }
  if (format === 'name') {
    for (const { resource, objects } of found) {
      for (const { metadata } of objects) print(displayName(resource, metadata.name));
    }
    return;
  }
  const filled = found.filter(({ objects }) => objects.length > 0);
  const tables = filled.map(({ resource, objects }) => {
    const rows = tableRows(resource.kind, objects, table, Date.now());
    const nameAt = table.namespaces ? 1 : 0;
    if (found.length > 1) {
      // With several kinds, each name is printed with its kind.
      for (const [i, object] of objects.entries()) {
        rows[i + (table.headers ? 1 : 0)]![nameAt] = displayName(resource, object.metadata.name);
      }
    }
    return tableText(rows, { headers: table.headers });
  });
  if (tables.length > 0) print(tables.join('\n'));
}

async function watch(
  client: ApiClient,
  { resource, objects, resourceVersion }: Found,
  selection: { labelSelector: string | undefined; fieldSelector: string | undefined },
  namespace: string | undefined,
  table: TableOptions,
): Promise<void> {
  let headers = table.headers && objects.length === 0;
  const options = { ...selection, resourceVersion, ...(resource.namespaced && { namespace }) };
  await client.watch(resource.kind, options, ({ object }) => {
    print(layOut(tableRows(resource.kind, [object], { ...table, headers }, Date.now())));
    headers = false;
  });
}
