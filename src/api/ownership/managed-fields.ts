/**
 * Field ownership (server-side apply, apimachinery/pkg/util/managedfields). An apply owns the fields of its
 * configuration; a field that was in its previous configuration and no longer is gets removed, unless it has another
 * owner too. Every other write owns the fields that it changes. An apply that would change another manager's field is a
 * conflict, unless forced.
 */
import type { KubeObject, ManagedFieldsEntry, ObjectMeta } from '../types/objects.ts';
import { FieldSet } from './field-set.ts';
import type { Shape } from './shape.ts';
import { setOf, storedForm } from './stored-sets.ts';
import { compare, fieldsOf, merge, without } from './typed.ts';

export interface Writer {
  manager: string;
  apiVersion: string;
  subresource: string | undefined;
  /** RFC 3339. */
  time: string;
}

/** One field that an apply would change although another manager owns it. */
export interface Conflict {
  /** The owner, as in the error message: `"kubectl-edit" using apps/v1 at 2025-01-31T12:00:00Z`. */
  owner: string;
  path: string;
}

interface Entry {
  manager: string;
  operation: 'Apply' | 'Update';
  apiVersion: string;
  subresource: string | undefined;
  time: string | undefined;
  fields: FieldSet;
}

/** Maximum number of Update entries; the oldest beyond it are merged into one (managedfields/capmanagers.go). */
const MAX_UPDATERS = 10;
const ANCIENT = 'ancient-changes';

/** Metadata without owners (managedfields/stripmeta.go). */
const STRIPPED_META = 'name namespace creationTimestamp selfLink uid generation managedFields resourceVersion'
  .split(' ')
  .concat('deletionTimestamp', 'deletionGracePeriodSeconds');

function decodeEntries(entries: readonly ManagedFieldsEntry[] | undefined): Entry[] {
  return (entries ?? [])
    .filter(({ operation, fieldsType }) => operation !== undefined && fieldsType === 'FieldsV1')
    .map(({ manager = '', operation, apiVersion = '', subresource, time, fieldsV1 }) => ({
      manager,
      operation: operation as Entry['operation'],
      apiVersion,
      subresource: subresource || undefined,
      time,
      fields: setOf(fieldsV1),
    }));
}

function encodeEntries(entries: readonly Entry[]): ManagedFieldsEntry[] | undefined {
  const kept = capped(entries.filter(({ fields }) => fields.children.size > 0));
  if (kept.length === 0) return undefined;
  const order = (a: Entry, b: Entry) =>
    a.operation !== b.operation
      ? a.operation < b.operation
        ? -1
        : 1
      : (a.time ?? '') !== (b.time ?? '')
        ? (a.time ?? '') < (b.time ?? '')
          ? -1
          : 1
        : a.manager < b.manager
          ? -1
          : 1;
  return [...kept].sort(order).map(({ manager, operation, apiVersion, subresource, time, fields }) => ({
    manager,
    operation,
    apiVersion,
    ...(time !== undefined && { time }),
    fieldsType: 'FieldsV1' as const,
    fieldsV1: storedForm(fields),
    ...(subresource !== undefined && { subresource }),
  }));
}

function capped(entries: readonly Entry[]): Entry[] {
  const updates = entries.filter(({ operation }) => operation === 'Update');
  if (updates.length <= MAX_UPDATERS) return [...entries];
  const oldest = [...updates].sort((a, b) => ((a.time ?? '') < (b.time ?? '') ? -1 : 1));
  const merged = oldest.slice(0, updates.length - MAX_UPDATERS + 1);
  const last = merged.at(-1)!;
  const fields = merged.reduce((all, entry) => all.union(entry.fields), new FieldSet());
  const ancient = { ...last, manager: ANCIENT, subresource: undefined, fields };
  return [...entries.filter((entry) => !merged.includes(entry)), ancient];
}

/** The part of a set that a writer to this subresource may own. A write to the status can set labels and annotations, too. */
function owned(fields: FieldSet, hasStatus: boolean, subresource: string | undefined): FieldSet {
  const result = new FieldSet();
  for (const [element, child] of fields.children) {
    if (element === 'f:apiVersion' || element === 'f:kind') continue;
    const isStatus = element === 'f:status';
    if (subresource === 'status' ? !isStatus && element !== 'f:metadata' : isStatus && hasStatus) continue;
    if (element !== 'f:metadata') {
      result.children.set(element, child);
      continue;
    }
    const meta = new FieldSet();
    for (const [name, field] of child.children) {
      if (!STRIPPED_META.includes(name.slice(2))) meta.children.set(name, field);
    }
    if (!meta.empty) result.children.set(element, meta);
  }
  return result;
}

/**
 * Does an entry belong to the writer? Each subresource has an entry of its own, and so has each apiVersion for updates.
 */
const isOf = (writer: Writer, operation: Entry['operation']) => (entry: Entry) =>
  entry.manager === writer.manager &&
  entry.operation === operation &&
  entry.subresource === writer.subresource &&
  (operation === 'Apply' || entry.apiVersion === writer.apiVersion);

/** The object without `managedFields`, which nobody owns. */
function bare(object: object | undefined): object {
  const { metadata, ...rest } = (object ?? {}) as { metadata?: ObjectMeta };
  if (metadata === undefined) return rest;
  const { managedFields, ...meta } = metadata;
  return { ...rest, metadata: meta };
}

export interface Typed {
  shape: Shape;
  /** Whether the kind has a status subresource; its status then has owners only through that. */
  hasStatus: boolean;
}

/** The entries after a create, update or patch from `old` (undefined: a create) to `next`. */
export function afterUpdate(
  typed: Typed,
  old: KubeObject | undefined,
  next: object,
  given: readonly ManagedFieldsEntry[] | undefined,
  writer: Writer,
): ManagedFieldsEntry[] | undefined {
  // Entries in the request replace the stored ones; a single empty entry clears them.
  if (given?.length === 1 && Object.keys(given[0]!).length === 0) return undefined;
  const sent = decodeEntries(given);
  const before = sent.length > 0 ? sent : decodeEntries(old?.metadata.managedFields);
  const { written, removed } = compare(bare(old), bare(next), typed.shape);
  const mine = owned(written, typed.hasStatus, writer.subresource);
  const isMine = isOf(writer, 'Update');
  const others = before
    .filter((entry) => !isMine(entry))
    .map((entry) => ({ ...entry, fields: entry.fields.difference(mine).difference(removed) }));
  const present = before.find(isMine);
  const fields = (present?.fields ?? new FieldSet()).difference(removed).union(mine);
  const time = present?.fields.equals(fields) && mine.empty ? present.time : writer.time;
  const { manager, apiVersion, subresource } = writer;
  return encodeEntries([...others, { manager, operation: 'Update', apiVersion, subresource, time, fields }]);
}

export interface Applied {
  /** The object with the configuration merged in, without managedFields. */
  object: object;
  managedFields: ManagedFieldsEntry[] | undefined;
  conflicts: Conflict[];
}

/** `config` applied to `live` (undefined: no such object yet). `force` takes the conflicting fields over. */
export function apply(
  typed: Typed,
  live: KubeObject | undefined,
  config: object,
  force: boolean,
  writer: Writer,
): Applied {
  const { shape, hasStatus } = typed;
  const before = decodeEntries(live?.metadata.managedFields);
  const isMine = isOf(writer, 'Apply');
  const fields = owned(fieldsOf(config, shape), hasStatus, writer.subresource);
  const present = before.find(isMine);
  const others = before.filter((entry) => !isMine(entry));
  const base = bare(live);
  let object = merge(base, config, shape) as object;
  const changed = owned(compare(base, object, shape).written, hasStatus, writer.subresource);
  const conflicts: Conflict[] = [];
  const kept = others.map((entry) => {
    const taken = entry.fields.intersection(changed);
    if (!force) {
      for (const path of taken.paths()) conflicts.push({ owner: printOwner(entry), path });
    }
    return { ...entry, fields: entry.fields.difference(taken) };
  });
  if (present !== undefined) {
    const claimed = kept.reduce((all, entry) => all.union(entry.fields), new FieldSet()).union(fields);
    const gone = present.fields.difference(fields);
    object = (without(object, shape, gone, claimed) ?? {}) as object;
  }
  const lost = compare(base, object, shape).removed;
  const { manager, apiVersion, subresource } = writer;
  const same = present?.apiVersion === apiVersion && present.fields.equals(fields) && changed.empty;
  const mine: Entry = { manager, operation: 'Apply', apiVersion, subresource, time: writer.time, fields };
  if (same && present !== undefined) mine.time = present.time;
  const rest = kept.map((entry) => ({ ...entry, fields: entry.fields.difference(lost) }));
  return { object, managedFields: encodeEntries([...rest, mine]), conflicts };
}

function printOwner({ manager, operation, apiVersion, subresource }: Entry): string {
  const name = JSON.stringify(manager) + (subresource === undefined ? '' : ` with subresource "${subresource}"`);
  return operation === 'Apply' ? name : `${name} using ${apiVersion}`;
}
