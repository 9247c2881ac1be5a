/**
 * Subresources, one row each. `status` is handled by the ordinary writes; logs, exec and the like are served by a node
 * (pod-proxy.ts).
 */
import { badRequest, conflict, invalid, methodNotAllowed, tooManyRequests } from '../errors.ts';
import { isReady } from '../ready.ts';
import type { Resource } from '../resources.ts';
import { resourceOfKind } from '../resources.ts';
import { matchesSelector } from '../selectors.ts';
import { nowText } from '../store/store.ts';
import type { NamespaceObject, Pod, PodDisruptionBudget, Status } from '../types/objects.ts';
import { type Call, replyObject, replyValue } from './call.ts';
import { readDeleteOptions, readWriteOptions } from './query.ts';
import { get } from './reads.ts';
import { parseObject, readBody } from './request-body.ts';
import { getScale, patchScale, putScale } from './scale.ts';
import { patch, update } from './writes.ts';

type Handler = (call: Call) => void | Promise<void>;

export interface Subresource {
  /** Kind of its body, for discovery. */
  kind: string;
  group?: string;
  version?: string;
  methods: Readonly<Record<string, Handler>>;
  verbs: readonly string[];
}

const SUCCESS: Status = { apiVersion: 'v1', kind: 'Status', metadata: {}, status: 'Success', code: 201 };

const SCALE: Subresource = {
  kind: 'Scale',
  group: 'autoscaling',
  version: 'v1',
  methods: { GET: getScale, PUT: putScale, PATCH: patchScale },
  verbs: ['get', 'patch', 'update'],
};

const OF_KIND: Readonly<Record<string, Readonly<Record<string, Subresource>>>> = {
  Pod: {
    binding: { kind: 'Binding', methods: { POST: bind }, verbs: ['create'] },
    ephemeralcontainers: {
      kind: 'Pod',
      methods: { GET: get, PUT: update, PATCH: patch },
      verbs: ['get', 'patch', 'update'],
    },
    eviction: { kind: 'Eviction', group: 'policy', version: 'v1', methods: { POST: evict }, verbs: ['create'] },
  },
  CertificateSigningRequest: {
    approval: {
      kind: 'CertificateSigningRequest',
      methods: { GET: get, PUT: update, PATCH: patch },
      verbs: ['get', 'patch', 'update'],
    },
  },
  Namespace: { finalize: { kind: 'Namespace', methods: { PUT: finalize }, verbs: ['update'] } },
};

/** Served elsewhere (pod-proxy.ts, reviews.ts); listed here only for discovery. */
const ELSEWHERE: Readonly<Record<string, Readonly<Record<string, Subresource>>>> = {
  Pod: {
    attach: { kind: 'PodAttachOptions', methods: {}, verbs: ['create', 'get'] },
    exec: { kind: 'PodExecOptions', methods: {}, verbs: ['create', 'get'] },
    log: { kind: 'Pod', methods: {}, verbs: ['get'] },
    portforward: { kind: 'PodPortForwardOptions', methods: {}, verbs: ['create', 'get'] },
    proxy: { kind: 'PodProxyOptions', methods: {}, verbs: ['create', 'delete', 'get', 'patch', 'update'] },
  },
  Service: {
    proxy: { kind: 'ServiceProxyOptions', methods: {}, verbs: ['create', 'delete', 'get', 'patch', 'update'] },
  },
  Node: { proxy: { kind: 'NodeProxyOptions', methods: {}, verbs: ['create', 'delete', 'get', 'patch', 'update'] } },
  ServiceAccount: {
    token: { kind: 'TokenRequest', group: 'authentication.k8s.io', version: 'v1', methods: {}, verbs: ['create'] },
  },
};

/** All subresources of a resource except `status`, by name. */
export function subresourcesOf(resource: Resource): Readonly<Record<string, Subresource>> {
  return {
    ...ELSEWHERE[resource.key],
    ...OF_KIND[resource.key],
    ...(resource.scale !== undefined && { scale: SCALE }),
  };
}

/** Serves the subresource; false if the resource does not have it. @throws ApiError 405 */
export function serveSubresource(call: Call): void | Promise<void> | false {
  const { resource, subresource = '' } = call.target;
  const found = subresourcesOf(resource)[subresource];
  if (found === undefined) return false;
  const handler = found.methods[call.request.method ?? ''];
  if (handler === undefined) throw methodNotAllowed();
  return handler(call);
}

/**
 * pods/binding: assigns the pod to a node, for a scheduler that the user runs (registry/core/pod/storage, assignPod).
 */
async function bind(call: Call): Promise<void> {
  const { registry, target, query, request, response } = call;
  const { resource, namespace, name } = target;
  const { dryRun } = readWriteOptions(query, 'CreateOptions');
  const binding = (await parseObject(request, await readBody(request))) as {
    target?: { kind?: string; name?: string };
  };
  const node = binding.target?.name;
  if (!node) {
    const message = 'Required value';
    throw invalid({ ...resource, kind: 'Binding' as never }, name!, [
      { path: 'target.name', message, reason: 'FieldValueRequired' },
    ]);
  }
  const pod = registry.get(resource, namespace, name!) as Pod;
  if (pod.metadata.deletionTimestamp !== undefined) {
    throw conflict(resource, name!, `pod ${name} is being deleted, cannot be assigned to a host`);
  }
  if (pod.spec.nodeName) {
    throw conflict(resource, name!, `pod ${name} is already assigned to node "${pod.spec.nodeName}"`);
  }
  registry.get(resourceOfKind('Node')!, undefined, node);
  registry.write({ ...pod, spec: { ...pod.spec, nodeName: node } }, pod, dryRun);
  replyValue(response, 201, SUCCESS);
}

/** pods/eviction: a deletion that a disruption budget can refuse (registry/core/pod/storage/eviction.go). */
async function evict(call: Call): Promise<void> {
  const { registry, target, query, request, response } = call;
  const { resource, namespace, name } = target;
  const eviction = (await parseObject(request, await readBody(request))) as {
    metadata?: { name?: string };
    deleteOptions?: unknown;
  };
  if (eviction.metadata?.name !== undefined && eviction.metadata.name !== name) {
    throw badRequest('name in URL does not match name in Eviction object');
  }
  const options = readDeleteOptions(query, eviction.deleteOptions);
  const pod = registry.get(resource, namespace, name!) as Pod;
  const running = pod.status?.phase === 'Running' && pod.metadata.deletionTimestamp === undefined;
  const budgets = running ? checkBudgets(call, pod) : [];
  registry.delete(resource, namespace, name!, options);
  if (!options.dryRun) for (const budget of budgets) spend(call, budget, pod);
  replyValue(response, 201, SUCCESS);
}

/** Counts an eviction against its budget at once: the next may come before the budget's controller has run. */
function spend({ registry }: Call, budget: PodDisruptionBudget, pod: Pod): void {
  const now = registry.store.get('PodDisruptionBudget', budget.metadata.namespace, budget.metadata.name);
  if (now?.status === undefined) return;
  const disruptedPods = { ...now.status.disruptedPods, [pod.metadata.name]: nowText() };
  const disruptionsAllowed = Math.max(0, (now.status.disruptionsAllowed ?? 0) - 1);
  registry.write({ ...now, status: { ...now.status, disruptedPods, disruptionsAllowed } }, now);
}

/** The budgets that select the pod. @throws ApiError 429 if one of them allows no disruption now */
function checkBudgets({ registry }: Call, pod: Pod): PodDisruptionBudget[] {
  const concerned: PodDisruptionBudget[] = [];
  for (const budget of registry.store.list('PodDisruptionBudget', pod.metadata.namespace)) {
    const { selector } = budget.spec;
    if (selector === undefined || !matchesSelector(selector, pod.metadata.labels ?? {})) continue;
    const { name, generation = 1 } = budget.metadata;
    const { observedGeneration = 0, disruptionsAllowed = 0, desiredHealthy, currentHealthy } = budget.status ?? {};
    if (observedGeneration < generation) {
      throw tooManyRequests(
        `Cannot evict pod as it would violate the pod's disruption budget. The disruption budget ${name} is still being processed by the server.`,
        {
          retryAfterSeconds: 10,
          causes: [
            {
              reason: 'DisruptionBudget',
              message: `The disruption budget ${name} is still being processed by the server.`,
            },
          ],
        },
      );
    }
    // Evicting a pod that is not ready is allowed while enough others are healthy (unhealthyPodEvictionPolicy).
    const healthy = isReady(pod);
    if (!healthy && budget.spec.unhealthyPodEvictionPolicy === 'AlwaysAllow') continue;
    if (!healthy && (currentHealthy ?? 0) >= (desiredHealthy ?? 0) && (desiredHealthy ?? 0) > 0) continue;
    if (disruptionsAllowed > 0) {
      concerned.push(budget);
      continue;
    }
    const needs = desiredHealthy ?? 0;
    const message = `The disruption budget ${name} needs ${needs} healthy pods and has ${currentHealthy ?? 0} currently`;
    throw tooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", {
      causes: [{ reason: 'DisruptionBudget', message }],
    });
  }
  return concerned;
}

/** namespaces/finalize: replaces the namespace's spec.finalizers. */
async function finalize(call: Call): Promise<void> {
  const { registry, target, query, request } = call;
  const { resource, name } = target;
  const { dryRun } = readWriteOptions(query, 'UpdateOptions');
  const given = (await parseObject(request, await readBody(request))) as NamespaceObject;
  const old = registry.get(resource, undefined, name!) as NamespaceObject;
  const finalizers = given.spec?.finalizers ?? [];
  replyObject(call, 200, registry.write({ ...old, spec: { ...old.spec, finalizers } }, old, dryRun));
}
