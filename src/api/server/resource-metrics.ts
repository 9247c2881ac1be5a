/** metrics.k8s.io: GET on nodes and pods, which are measured for each request (sigs.k8s.io/metrics-server). */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { methodNotAllowed, notFound } from '../errors.ts';
import { METRICS_RESOURCES, NODE_METRICS } from '../metrics/resources.ts';
import type { UsageSource } from '../metrics/usage.ts';
import type { Resource } from '../resources.ts';
import type { KubeObject } from '../types/objects.ts';
import { replyText } from './call.ts';
import { writeList } from './list-response.ts';
import { negotiate } from './negotiation.ts';
import { readListOptions, selection } from './query.ts';
import { renderer } from './render.ts';

const PATH = /^\/apis\/metrics\.k8s\.io\/v1beta1\/(?:namespaces\/([^/]+)\/)?(nodes|pods)(?:\/([^/]+))?$/;

/** Undefined if a segment is not valid percent-encoding: then there is no such path. */
function decoded(segments: readonly (string | undefined)[]): (string | undefined)[] | undefined {
  try {
    return segments.map((segment) => segment && decodeURIComponent(segment));
  } catch {
    return undefined;
  }
}

/** Serves the request if it is one of these; false otherwise. Rejects with ApiError. */
export async function serveMetrics(
  request: IncomingMessage,
  response: ServerResponse,
  source: UsageSource,
): Promise<boolean> {
  // Not URL: a path that begins with // is a host's name to it.
  const [path = '/', query = ''] = (request.url ?? '/').split('?', 2);
  const searchParams = new URLSearchParams(query);
  const match = PATH.exec(path);
  if (match === null) return false;
  const parts = decoded(match.slice(1));
  if (parts === undefined) return false;
  const [namespace, plural, name] = parts;
  const resource = METRICS_RESOURCES.find((each) => each.plural === plural)!;
  if ((resource === NODE_METRICS && namespace) || (resource !== NODE_METRICS && name && !namespace)) return false;
  if (request.method !== 'GET') throw methodNotAllowed();
  const options = readListOptions(searchParams);
  if (options.watch) throw methodNotAllowed();
  const found = await measured(source, resource, namespace, name);
  const render = renderer(resource, negotiate(request.headers.accept, true), 'Object');
  if (name !== undefined) {
    const [one] = found;
    if (one === undefined) throw notFound(resource, namespace === undefined ? name : `${namespace}/${name}`);
    replyText(response, 200, render.object(one), render.mediaType);
    return true;
  }
  const selects = selection(resource, options) ?? (() => true);
  await writeList(response, render, { resourceVersion: '' }, found.filter(selects));
  return true;
}

async function measured(
  source: UsageSource,
  resource: Resource,
  namespace: string | undefined,
  name: string | undefined,
): Promise<KubeObject[]> {
  if (resource === NODE_METRICS) return source.nodes(name);
  const pods = await source.pods(namespace);
  return name === undefined ? pods : pods.filter(({ metadata }) => metadata.name === name);
}
