/** Reports answered requests, for metrics. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { actionOf, isPathAction } from '../access/authorization.ts';
import type { CustomKinds } from '../custom/kinds.ts';
import { parseResourcePath } from './request-path.ts';

export interface ServedRequest {
  /** As kube-apiserver reports it: LIST, CREATE, …; OTHER for a method that is not Kubernetes'. */
  readonly verb: string;
  /** Plural name of a served resource; '' for other paths. */
  readonly resource: string;
  readonly code: number;
}

export interface RequestObserver {
  answered(request: ServedRequest, seconds: number): void;
  /** The text of GET /metrics, and its media type. */
  expose(): Promise<{ readonly type: string; readonly text: string }>;
}

const VERBS = new Set(['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection']);

/** Calls the observer when the request has been answered. A client cannot invent verbs or resources. */
export function observeRequest(
  observer: RequestObserver,
  kinds: CustomKinds,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const from = performance.now();
  response.once('close', () => {
    const url = request.url ?? '/';
    const action = actionOf(request.method ?? 'GET', url);
    const target = isPathAction(action) ? undefined : parseResourcePath(url.split('?', 1)[0] as string, kinds);
    const verb = VERBS.has(action.verb) ? action.verb.toUpperCase() : 'OTHER';
    const served = { verb, resource: target?.resource.plural ?? '', code: response.statusCode };
    observer.answered(served, (performance.now() - from) / 1000);
  });
}
