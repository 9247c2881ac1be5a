/**
 * The query parameters of a request, validated as in Kubernetes (apimachinery/pkg/apis/meta/v1/validation and
 * internalversion/validation). As there, parameters that do not apply to a verb are ignored.
 */
import { badRequest, type FieldError, invalidOptions } from '../errors.ts';
import type { Resource } from '../resources.ts';
import { forbidden, notSupported } from '../rules/field-errors.ts';
import { type Predicate, parseFieldSelector, parseLabelSelector, SelectorError } from '../selectors.ts';
import type { DeleteRequest, PropagationPolicy } from '../store/deletion.ts';

export interface ListOptions {
  watch: boolean;
  labelSelector: string;
  fieldSelector: string;
  /** Undefined: the most recent; 0: any. */
  resourceVersion: number | undefined;
  exact: boolean;
  limit: number;
  continueToken: string;
  sendInitialEvents: boolean;
  bookmarks: boolean;
  timeoutSeconds: number;
}

export interface WriteOptions {
  dryRun: boolean;
  fieldManager: string;
  fieldValidation: 'Strict' | 'Warn' | 'Ignore';
  force: boolean;
}

const VALIDATIONS = ['Ignore', 'Strict', 'Warn'] as const;
const POLICIES = ['Foreground', 'Background', 'Orphan'] as const;
const MAX_MANAGER = 128;

/** True for anything except 0 and false, even for `?watch` (apimachinery runtime.Convert_Slice_string_To_bool). */
function flag(query: URLSearchParams, name: string): boolean {
  const value = query.get(name);
  return value !== null && !/^(0|false)$/i.test(value);
}

function integer(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === '') return undefined;
  if (!/^[+-]?\d{1,15}$/.test(text)) throw badRequest(`${name}: expected an integer, got ${JSON.stringify(text)}`);
  return Number(text);
}

export function readListOptions(query: URLSearchParams): ListOptions {
  const watch = flag(query, 'watch');
  const text = query.get('resourceVersion') ?? '';
  if (text !== '' && !/^\d{1,15}$/.test(text)) throw badRequest(`invalid resource version: ${JSON.stringify(text)}`);
  const continueToken = query.get('continue') ?? '';
  const match = query.get('resourceVersionMatch') ?? '';
  const sendInitialEvents = flag(query, 'sendInitialEvents');
  const errors = watch
    ? checkWatch(query, match)
    : checkMatch(match, text, continueToken, query.has('sendInitialEvents'));
  if (errors.length > 0) throw invalidOptions('ListOptions', errors);
  if (continueToken !== '' && text !== '' && text !== '0') {
    throw badRequest('specifying resource version is not allowed when using continue');
  }
  return {
    watch,
    labelSelector: query.get('labelSelector') ?? '',
    fieldSelector: query.get('fieldSelector') ?? '',
    resourceVersion: text === '' ? undefined : Number(text),
    exact: match === 'Exact',
    limit: Math.max(0, integer(query, 'limit') ?? 0),
    continueToken,
    sendInitialEvents,
    bookmarks: flag(query, 'allowWatchBookmarks'),
    timeoutSeconds: Math.max(0, integer(query, 'timeoutSeconds') ?? 0),
  };
}

function checkMatch(match: string, version: string, token: string, initialEvents: boolean): FieldError[] {
  const errors: FieldError[] = [];
  if (initialEvents) errors.push(forbidden('sendInitialEvents', 'sendInitialEvents is forbidden for list'));
  if (match === '') return errors;
  const path = 'resourceVersionMatch';
  if (version === '') errors.push(forbidden(path, `${path} is forbidden unless resourceVersion is provided`));
  if (token !== '') errors.push(forbidden(path, `${path} is forbidden when continue is provided`));
  if (match !== 'Exact' && match !== 'NotOlderThan') {
    errors.push(notSupported(path, match, ['Exact', 'NotOlderThan', '']));
  } else if (match === 'Exact' && version === '0') {
    errors.push(forbidden(path, `${path} "Exact" is forbidden for resourceVersion "0"`));
  }
  return errors;
}

function checkWatch(query: URLSearchParams, match: string): FieldError[] {
  const path = 'resourceVersionMatch';
  if (!query.has('sendInitialEvents')) {
    if (match === '') return [];
    return [forbidden(path, `${path} is forbidden for watch unless sendInitialEvents is provided`)];
  }
  const errors: FieldError[] = [];
  if (match === '') {
    errors.push(forbidden(path, 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan'));
  } else if (match !== 'NotOlderThan') errors.push(notSupported(path, match, ['NotOlderThan']));
  return errors;
}

function checkDryRun(values: readonly string[]): FieldError[] {
  return values.every((value) => value === 'All') ? [] : [notSupported('dryRun', values, ['All'])];
}

/** @param kind name of the options in error messages: CreateOptions, UpdateOptions or PatchOptions */
export function readWriteOptions(query: URLSearchParams, kind: string, apply: boolean = false): WriteOptions {
  const dryRun = query.getAll('dryRun').filter((value) => value !== '');
  const fieldManager = query.get('fieldManager') ?? '';
  const validation = query.get('fieldValidation') || 'Warn';
  const errors = checkDryRun(dryRun);
  if (Buffer.byteLength(fieldManager) > MAX_MANAGER) {
    errors.push({ path: 'fieldManager', message: `Too long: may not be more than ${MAX_MANAGER} bytes` });
  } else if (/[^\P{C}\p{Cf}]/u.test(fieldManager)) {
    errors.push({ path: 'fieldManager', message: 'Invalid value: should only contain printable characters' });
  }
  if (!VALIDATIONS.includes(validation as never)) {
    errors.push(notSupported('fieldValidation', validation, ['', ...VALIDATIONS]));
  }
  if (apply && fieldManager === '') {
    errors.push({
      path: 'fieldManager',
      message: 'Required value: is required for apply patch',
      reason: 'FieldValueRequired',
    });
  }
  if (!apply && query.has('force')) errors.push(forbidden('force', 'may not be specified for non-apply patch'));
  if (errors.length > 0) throw invalidOptions(kind, errors);
  return {
    dryRun: dryRun.length > 0,
    fieldManager,
    fieldValidation: validation as WriteOptions['fieldValidation'],
    force: flag(query, 'force'),
  };
}

/** The options of a deletion; those in the body take precedence over the query. */
export function readDeleteOptions(query: URLSearchParams, body: unknown): DeleteRequest {
  const given = (body ?? {}) as Record<string, unknown>;
  const dryRun = (given.dryRun as string[] | undefined) ?? query.getAll('dryRun').filter((value) => value !== '');
  const orphan =
    given.orphanDependents ?? (query.has('orphanDependents') ? flag(query, 'orphanDependents') : undefined);
  const policy = (given.propagationPolicy ?? query.get('propagationPolicy') ?? undefined) as string | undefined;
  const seconds = given.gracePeriodSeconds ?? integer(query, 'gracePeriodSeconds');
  const errors = Array.isArray(dryRun) ? checkDryRun(dryRun) : [{ path: 'dryRun', message: 'expected a list' }];
  if (policy !== undefined && !POLICIES.includes(policy as never)) {
    errors.push(notSupported('propagationPolicy', policy, [...POLICIES, 'nil']));
  }
  if (policy !== undefined && orphan !== undefined) {
    const message = `Invalid value: ${JSON.stringify(policy)}: orphanDependents and deletionPropagation cannot be both set`;
    errors.push({ path: 'propagationPolicy', message });
  }
  if (seconds !== undefined && seconds !== null && !Number.isInteger(seconds)) {
    errors.push({ path: 'gracePeriodSeconds', message: `expected an integer, got ${JSON.stringify(seconds)}` });
  }
  if (errors.length > 0) throw invalidOptions('DeleteOptions', errors);
  return {
    dryRun: dryRun.length > 0,
    // A negative grace period counts as 1 second (registry/rest/delete.go).
    gracePeriodSeconds:
      seconds === undefined || seconds === null ? undefined : (seconds as number) < 0 ? 1 : (seconds as number),
    propagationPolicy:
      orphan === undefined ? (policy as PropagationPolicy | undefined) : orphan ? 'Orphan' : 'Background',
    preconditions: given.preconditions as DeleteRequest['preconditions'],
  };
}

/** A test for objects that both selectors match; undefined: all match. @throws ApiError 400 */
export function selection(
  { kind, custom }: Pick<Resource, 'kind' | 'custom'>,
  { labelSelector, fieldSelector }: ListOptions,
): Predicate | undefined {
  try {
    const byLabel = parseLabelSelector(labelSelector);
    const byField = parseFieldSelector(kind, fieldSelector, custom?.selectable);
    return byLabel && byField ? (object) => byLabel(object) && byField(object) : (byLabel ?? byField);
  } catch (error) {
    if (error instanceof SelectorError) throw badRequest(error.message);
    throw error;
  }
}
