/**
 * Errors of the API on both sides: the server throws them and sends their Status, the client rebuilds them from it.
 * The messages are those of Kubernetes (k8s.io/apimachinery/pkg/api/errors), because people search for them.
 */
import { type Action, isPathAction } from './access/authorization.ts';
import { qualifiedName, type Resource } from './resources.ts';
import type { Status, StatusCause } from './types/objects.ts';

/** The API refused the request. `code` is the HTTP status, `reason` the StatusReason (`NotFound`, `Conflict`, …). */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: number;
  readonly reason: string;
  readonly status: Status;

  constructor(status: Status) {
    super(status.message ?? status.reason ?? 'the API refused the request');
    this.code = status.code ?? 500;
    this.reason = status.reason ?? 'InternalError';
    this.status = status;
  }
}

/** The API could not be reached, or the connection broke before the response. `code` is that of Node's system error. */
export class ApiUnreachableError extends Error {
  override readonly name = 'ApiUnreachableError';
  readonly code: string;

  constructor(where: string, cause: NodeJS.ErrnoException) {
    super(`the API at ${where} cannot be reached: ${cause.message}`, { cause });
    this.code = cause.code ?? 'EUNKNOWN';
  }
}

/** One error in an object: path, message, and Kubernetes' reason (`FieldValueRequired`, …). */
export interface FieldError {
  /** As in `spec.ports[0].nodePort`. */
  path: string;
  message: string;
  reason?:
    | 'FieldValueInvalid'
    | 'FieldValueRequired'
    | 'FieldValueNotSupported'
    | 'FieldValueForbidden'
    | 'FieldValueDuplicate'
    | 'FieldValueNotFound'
    | 'FieldUnknown';
}

function failure(code: number, reason: string, message: string, details?: Status['details']): ApiError {
  return new ApiError({
    apiVersion: 'v1',
    kind: 'Status',
    metadata: {},
    status: 'Failure',
    message,
    reason,
    code,
    ...(details && { details }),
  });
}

const about = (resource: Resource, name: string) => ({
  name,
  ...(resource.group !== '' && { group: resource.group }),
  kind: resource.plural,
});

export const notFound = (resource: Resource, name: string): ApiError =>
  failure(404, 'NotFound', `${qualifiedName(resource)} "${name}" not found`, about(resource, name));

/** With details, though empty: kubectl reads them without checking that they exist. */
export const noSuchPath = (path: string): ApiError =>
  failure(404, 'NotFound', `the server could not find the requested resource (${path})`, {});

export const alreadyExists = (resource: Resource, name: string): ApiError =>
  failure(409, 'AlreadyExists', `${qualifiedName(resource)} "${name}" already exists`, about(resource, name));

export const conflict = (resource: Resource, name: string, why: string): ApiError =>
  failure(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${qualifiedName(resource)} "${name}": ${why}`,
    about(resource, name),
  );

/** 409: an apply would change fields that others own (managedfields/internal/conflict.go). */
export function applyConflict(conflicts: readonly { owner: string; path: string }[]): ApiError {
  const causes = conflicts.map(({ owner, path }) => ({
    reason: 'FieldManagerConflict',
    message: `conflict with ${owner}`,
    field: path,
  }));
  const [first] = conflicts;
  if (conflicts.length === 1) {
    const message = `Apply failed with 1 conflict: conflict with ${first!.owner}: ${first!.path}`;
    return failure(409, 'Conflict', message, { causes });
  }
  const owners = [...new Set(conflicts.map(({ owner }) => owner))].sort();
  const lines = owners.flatMap((owner) => [
    `conflicts with ${owner}:`,
    ...conflicts.filter((conflict) => conflict.owner === owner).map(({ path }) => `- ${path}`),
  ]);
  const message = `Apply failed with ${conflicts.length} conflicts: ${lines.join('\n')}`;
  return failure(409, 'Conflict', message, { causes });
}

export const MODIFIED = 'the object has been modified; please apply your changes to the latest version and try again';

export const forbidden = (resource: Resource, name: string, why: string): ApiError =>
  failure(403, 'Forbidden', `${qualifiedName(resource)} "${name}" is forbidden: ${why}`, about(resource, name));

/** 401: no credentials, or ones that are not valid. */
export const unauthorized = (message = 'Unauthorized'): ApiError => failure(401, 'Unauthorized', message);

/** 403: the user may not do this. */
export function forbiddenAction(user: string, action: Action, reason = ''): ApiError {
  const why = reason === '' ? '' : `: ${reason}`;
  if (isPathAction(action)) {
    const message = `forbidden: User "${user}" cannot ${action.verb} path "${action.path}"${why}`;
    return failure(403, 'Forbidden', message);
  }
  const { verb, apiGroup, resource, subresource, namespace, name } = action;
  const qualified = apiGroup === '' ? resource : `${resource}.${apiGroup}`;
  const whole = subresource === undefined ? resource : `${resource}/${subresource}`;
  const where = namespace === undefined ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  const subject = name === undefined ? qualified : `${qualified} "${name}"`;
  const message = `${subject} is forbidden: User "${user}" cannot ${verb} resource "${whole}" in API group "${apiGroup}" ${where}${why}`;
  return failure(403, 'Forbidden', message, {
    ...(name !== undefined && { name }),
    ...(apiGroup !== '' && { group: apiGroup }),
    kind: resource,
  });
}

export const badRequest = (message: string): ApiError => failure(400, 'BadRequest', message);

export const expired = (message: string): ApiError => failure(410, 'Expired', message);

/** 410 in the middle of a paginated list; `continueToken` retrieves the rest at the current version. */
export function listExpired(continueToken: string): ApiError {
  const error = expired(
    'The provided continue parameter is too old to display a consistent list result. You can start a new list ' +
      'without the continue parameter, or use the continue token in this response to retrieve the remainder of the ' +
      'results. Continuing with the provided token results in an inconsistent list - objects that were created, ' +
      'modified, or deleted between the time the first chunk was returned and now may show up in the list.',
  );
  (error.status.metadata as { continue?: string }).continue = continueToken;
  return error;
}

/** 504, as from a server that has not reached that version yet. */
export const tooLargeVersion = (wanted: number, current: number): ApiError =>
  failure(504, 'Timeout', `Too large resource version: ${wanted}, current: ${current}`, {
    retryAfterSeconds: 1,
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
  });

export const notAcceptable = (accepted: readonly string[]): ApiError =>
  failure(406, 'NotAcceptable', `only the following media types are accepted: ${accepted.join(', ')}`);

/** 429: try again later. */
export const tooManyRequests = (message: string, details: Status['details'] = {}): ApiError =>
  failure(429, 'TooManyRequests', message, details);

/** 422 about the parameters of a request; `kind` is that of the options, such as ListOptions. */
export const invalidOptions = (kind: string, errors: readonly FieldError[]): ApiError =>
  invalid({ kind, group: 'meta.k8s.io', plural: kind } as unknown as Resource, '', errors);

export const serviceUnavailable = (message: string): ApiError => failure(503, 'ServiceUnavailable', message);

export const methodNotAllowed = (): ApiError =>
  failure(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource');

export const unsupportedMediaType = (type: string, accepted: readonly string[]): ApiError =>
  failure(
    415,
    'UnsupportedMediaType',
    `the body of the request was in an unknown format (${type}) - accepted media types include: ${accepted.join(', ')}`,
  );

/** 413; `limit` is a number of bytes, or the whole message. */
export const tooLarge = (limit: number | string): ApiError =>
  failure(
    413,
    'RequestEntityTooLarge',
    typeof limit === 'number' ? `Request entity too large: limit is ${limit}` : limit,
  );

/** Characters of such a value. */
const MAX_SHOWN = 200;

/** A client's value in a message: text as it is, others as JSON, which a member named toString cannot break. */
export const asText = (value: unknown): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? '').slice(0, MAX_SHOWN);

/** @throws ApiError for an object that claims to be of another version or kind than its place */
export function requireKind(version: string, kind: string, given: { apiVersion?: unknown; kind?: unknown }): void {
  const { apiVersion = version, kind: its = kind } = given;
  if (apiVersion === version && its === kind) return;
  throw badRequest(`expected ${version} ${kind}, got ${asText(given.apiVersion)} ${asText(given.kind)}`);
}

export const internalError = (message: string): ApiError =>
  failure(500, 'InternalError', `Internal error occurred: ${message}`);

/** 422: a JSON patch that does not fit the object (apiserver handlers/patch.go). */
export const patchRefused = (why: string): ApiError =>
  failure(422, 'Invalid', `the server rejected our request due to an error in our request: ${why}`);

/** 422: the object is invalid; each error becomes a cause. */
export function invalid(resource: Resource, name: string, errors: readonly FieldError[]): ApiError {
  const lines = errors.map((e) => (e.path === '' ? e.message : `${e.path}: ${e.message}`));
  const causes: StatusCause[] = errors.map((e) => ({
    reason: e.reason ?? 'FieldValueInvalid',
    message: e.message,
    field: e.path,
  }));
  const all = lines.length === 1 ? lines[0]! : `[${lines.join(', ')}]`;
  const kind = resource.group === '' ? resource.kind : `${resource.kind}.${resource.group}`;
  return failure(422, 'Invalid', `${kind} "${name}" is invalid: ${all}`, {
    ...about(resource, name),
    kind: resource.kind,
    causes,
  });
}
