/**
 * The paths of an OpenAPI document: every verb of every resource. kubectl finds the type of a resource there, and reads
 * from the parameters of `patch` whether the server validates fields.
 */
import { META } from '../published/types.ts';
import { apiRootOf, type Resource } from '../resources.ts';
import { groupVersionKind, type OpenApiSchema, reference, type Version } from './definitions.ts';

/** One verb of a path, before it is rendered for a version of OpenAPI. */
interface Operation {
  method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** Its name in Kubernetes (x-kubernetes-action). */
  action: string;
  query: readonly string[];
  /** Type of the body; undefined without one. */
  body?: string | undefined;
  /** Type of the response. */
  answer: string;
  mediaTypes?: readonly string[];
}

/** Query parameters, by name: their type and what they do. */
const QUERY: Readonly<Record<string, readonly [type: string, description: string]>> = {
  allowWatchBookmarks: ['boolean', 'allowWatchBookmarks requests watch events with type "BOOKMARK".'],
  continue: ['string', 'The continue option of the previous part of a list retrieves the next one.'],
  dryRun: ['string', 'When present, nothing is persisted. The only valid value is All.'],
  fieldManager: ['string', 'Name of the actor that makes the change. Required for apply requests.'],
  fieldSelector: ['string', 'Restricts the returned objects by their fields.'],
  fieldValidation: ['string', 'What to do with unknown or duplicate fields: Ignore, Warn or Strict.'],
  force: ['boolean', 'Force is going to "force" Apply requests: conflicting fields change their owner.'],
  gracePeriodSeconds: ['integer', 'Seconds before the object is deleted; 0 deletes at once.'],
  labelSelector: ['string', 'Restricts the returned objects by their labels.'],
  limit: ['integer', 'Largest number of objects in one answer of a list.'],
  orphanDependents: ['boolean', 'Deprecated: use propagationPolicy.'],
  pretty: ['string', "If 'true', then the output is pretty printed."],
  propagationPolicy: ['string', 'What becomes of dependents: Orphan, Background or Foreground.'],
  resourceVersion: ['string', 'Constraint on the version that is served.'],
  resourceVersionMatch: ['string', 'How resourceVersion is applied to a list: Exact or NotOlderThan.'],
  sendInitialEvents: ['boolean', 'A watch begins with the objects there are, and a bookmark after them.'],
  timeoutSeconds: ['integer', 'Limits the duration of a list or watch.'],
  watch: ['boolean', 'Watch for changes to the described resources.'],
};

const LIST = [
  'allowWatchBookmarks',
  'continue',
  'fieldSelector',
  'labelSelector',
  'limit',
  'pretty',
  'resourceVersion',
].concat(['resourceVersionMatch', 'sendInitialEvents', 'timeoutSeconds', 'watch']);
const WRITE = ['dryRun', 'fieldManager', 'fieldValidation', 'pretty'];
const DELETE = ['dryRun', 'gracePeriodSeconds', 'orphanDependents', 'pretty', 'propagationPolicy'];
const JSON_TYPES = ['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf'];
const PATCH_TYPES = ['application/json-patch+json', 'application/merge-patch+json'].concat([
  'application/strategic-merge-patch+json',
  'application/apply-patch+yaml',
]);
const DELETE_OPTIONS = `${META}.DeleteOptions`;
const STATUS = `${META}.Status`;

function collectionOperations(type: string): Operation[] {
  return [
    { method: 'get', action: 'list', query: LIST, answer: `${type}List` },
    { method: 'post', action: 'post', query: WRITE, body: type, answer: type },
    { method: 'delete', action: 'deletecollection', query: [...LIST, ...DELETE], body: DELETE_OPTIONS, answer: STATUS },
  ];
}

function objectOperations(type: string, all: boolean): Operation[] {
  const patch = `${META}.Patch`;
  const operations: Operation[] = [
    { method: 'get', action: 'get', query: ['pretty'], answer: type },
    { method: 'put', action: 'put', query: WRITE, body: type, answer: type },
    {
      method: 'patch',
      action: 'patch',
      query: [...WRITE, 'force'],
      body: patch,
      answer: type,
      mediaTypes: PATCH_TYPES,
    },
  ];
  if (all) {
    operations.push({ method: 'delete', action: 'delete', query: DELETE, body: DELETE_OPTIONS, answer: STATUS });
  }
  return operations;
}

/** Every path of a resource, with its verbs. `type` is the published type of its objects. */
export function pathsOf(resource: Resource, type: string, version: Version): Record<string, OpenApiSchema> {
  const root = apiRootOf(resource);
  const inside = resource.namespaced ? `${root}/namespaces/{namespace}` : root;
  const collection = `${inside}/${resource.plural}`;
  const served = (operation: Operation) => !resource.readOnly || operation.method === 'get';
  const item = (path: string, operations: Operation[]) => pathItem(resource, path, operations.filter(served), version);
  const paths: Record<string, OpenApiSchema> = {
    [collection]: item(collection, collectionOperations(type)),
    [`${collection}/{name}`]: item(`${collection}/{name}`, objectOperations(type, true)),
  };
  if (resource.namespaced) {
    const everywhere = `${root}/${resource.plural}`;
    paths[everywhere] = item(everywhere, collectionOperations(type).slice(0, 1));
  }
  if (resource.status) {
    const status = `${collection}/{name}/status`;
    paths[status] = item(status, objectOperations(type, false));
  }
  return paths;
}

function pathItem(resource: Resource, path: string, operations: Operation[], version: Version): OpenApiSchema {
  const placeholders = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
  const parameters = placeholders.map((name) => ({
    name,
    in: 'path',
    required: true,
    description: name === 'name' ? `name of the ${resource.kind}` : 'object name and auth scope, such as for teams',
    ...typed('string', version),
  }));
  const verbs = operations.map((operation) => [operation.method, operationOf(resource, path, operation, version)]);
  return { ...Object.fromEntries(verbs), ...(parameters.length > 0 && { parameters }) };
}

const typed = (type: string, version: Version): OpenApiSchema => (version === 'v2' ? { type } : { schema: { type } });

function operationOf(resource: Resource, path: string, operation: Operation, version: Version): OpenApiSchema {
  const { action, query, answer, body } = operation;
  const types = operation.mediaTypes ?? JSON_TYPES;
  // kubectl chooses its patch type by this. Custom resources have no merge keys for a strategic merge patch.
  const consumes = resource.custom ? types.filter((type) => !type.includes('strategic')) : types;
  const parameters: OpenApiSchema[] = [...new Set(query)].map((name) => {
    const [type, description] = QUERY[name]!;
    return { name, in: 'query', description, ...(version === 'v2' && { uniqueItems: true }), ...typed(type, version) };
  });
  const schema = reference(answer, version);
  const common = {
    description: `${action} ${resource.kind}`,
    operationId: operationId(resource, path, action),
    tags: [`${resource.group.split('.')[0] || 'core'}_${resource.version}`],
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': groupVersionKind(resource, resource.kind),
  };
  if (version === 'v2') {
    if (body !== undefined)
      parameters.push({ name: 'body', in: 'body', required: true, schema: reference(body, 'v2') });
    return { ...common, consumes, produces: JSON_TYPES, parameters, responses: { 200: { description: 'OK', schema } } };
  }
  const content = (types: readonly string[], of: OpenApiSchema) =>
    Object.fromEntries(types.map((type) => [type, { schema: of }]));
  return {
    ...common,
    parameters,
    ...(body !== undefined && { requestBody: { content: content(consumes, reference(body, 'v3')) } }),
    responses: { 200: { description: 'OK', content: content(JSON_TYPES, schema) } },
  };
}

/** `listAppsV1NamespacedDeployment`: unique in the document, as client generators need it. */
function operationId(resource: Resource, path: string, action: string): string {
  const upper = (word: string) => word.charAt(0).toUpperCase() + word.slice(1);
  const verbs: Record<string, string> = {
    get: 'read',
    post: 'create',
    put: 'replace',
    deletecollection: 'deleteCollection',
  };
  const group = upper(resource.group.split('.')[0] || 'core');
  const scope = path.includes('{namespace}') ? 'Namespaced' : '';
  const where = resource.namespaced && scope === '' ? 'ForAllNamespaces' : '';
  const part = path.endsWith('/status') ? 'Status' : '';
  return `${verbs[action] ?? action}${group}${upper(resource.version)}${scope}${resource.kind}${part}${where}`;
}
