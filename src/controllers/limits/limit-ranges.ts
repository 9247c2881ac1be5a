/**
 * LimitRanges: default requests and limits of containers, and bounds for containers, pods and claims
 * (k8s.io/kubernetes/plugin/pkg/admission/limitranger).
 */
import { templateContainersOf } from '../../api/containers.ts';
import { forbidden } from '../../api/errors.ts';
import { podResources, resourcesOf } from '../../api/pod-resources.ts';
import { type Amounts, amountsOf, Quantity } from '../../api/quantity.ts';
import { resourceOfKind } from '../../api/resources.ts';
import type { Store } from '../../api/store/store.ts';
import type { Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod } from '../../api/types/objects.ts';

const ANNOTATION = 'kubernetes.io/limit-ranger';
type ResourceList = Record<string, string | number>;

const itemsOf = (range: LimitRange, type: string): LimitRangeItem[] =>
  (range.spec?.limits ?? []).filter((item) => item.type === type);

/** The pod with the defaults of its namespace's LimitRanges, and an annotation that lists them. */
export function withLimitDefaults(store: Store, pod: Pod): Pod {
  let result = pod;
  for (const range of store.list('LimitRange', pod.metadata.namespace)) {
    const items = itemsOf(range, 'Container');
    const limits = Object.assign({}, ...items.map((item) => item.default)) as ResourceList;
    const requests = Object.assign({}, ...items.map((item) => item.defaultRequest)) as ResourceList;
    result = withDefaults(result, requests, limits);
  }
  return result;
}

function withDefaults(pod: Pod, requests: ResourceList, limits: ResourceList): Pod {
  const notes: string[] = [];
  const fill = (container: Container, kind: string): Container => {
    const set = (which: 'requests' | 'limits', defaults: ResourceList) => {
      const missing = Object.keys(defaults).filter((name) => container.resources?.[which]?.[name] === undefined);
      const one = which === 'requests' ? 'request' : 'limit';
      if (missing.length > 0) notes.push(`${missing.sort().join(', ')} ${one} for ${kind} ${container.name}`);
      return { ...defaults, ...container.resources?.[which] };
    };
    const filled = { requests: set('requests', requests), limits: set('limits', limits) };
    const present = Object.entries(filled).filter(([, list]) => Object.keys(list).length > 0);
    if (present.length === 0) return container;
    return { ...container, resources: { ...container.resources, ...Object.fromEntries(present) } };
  };
  const containers = pod.spec.containers.map((container) => fill(container, 'container'));
  const initContainers = pod.spec.initContainers?.map((container) => fill(container, 'init container'));
  if (notes.length === 0) return pod;
  const annotations = { ...pod.metadata.annotations, [ANNOTATION]: `LimitRanger plugin set: ${notes.join('; ')}` };
  return {
    ...pod,
    metadata: { ...pod.metadata, annotations },
    spec: { ...pod.spec, containers, ...(initContainers && { initContainers }) },
  };
}

/** @throws ApiError 403 if the new pod exceeds a bound of its namespace */
export function checkPodLimits(store: Store, pod: Pod): void {
  for (const range of store.list('LimitRange', pod.metadata.namespace)) {
    const errors: string[] = [];
    const all = templateContainersOf(pod.spec);
    for (const item of itemsOf(range, 'Container')) {
      for (const container of all) {
        check(item, resourcesOf(container, 'requests'), resourcesOf(container, 'limits'), errors);
      }
    }
    for (const item of itemsOf(range, 'Pod')) {
      check(item, podResources(pod.spec, 'requests'), podResources(pod.spec, 'limits'), errors);
    }
    refuse('Pod', pod.metadata.name, errors);
  }
}

/** @throws ApiError 403 if the claim requests less or more than its namespace allows */
export function checkClaimLimits(store: Store, claim: PersistentVolumeClaim): PersistentVolumeClaim {
  const requests = amountsOf(claim.spec.resources?.requests);
  for (const range of store.list('LimitRange', claim.metadata.namespace)) {
    const errors: string[] = [];
    for (const { type, min, max } of itemsOf(range, 'PersistentVolumeClaim')) {
      for (const [name, bound] of Object.entries(amountsOf(min))) atLeast(type, name, bound, requests, {}, errors);
      // A claim has no limits, only a request.
      for (const [name, bound] of Object.entries(amountsOf(max))) {
        const asked = requests[name];
        if (asked?.exceeds(bound)) {
          errors.push(`maximum ${name} usage per ${type} is ${bound}, but request is ${asked}`);
        }
      }
    }
    refuse('PersistentVolumeClaim', claim.metadata.name, errors);
  }
  return claim;
}

function refuse(kind: string, name: string, errors: readonly string[]): void {
  const different = [...new Set(errors)];
  if (different.length === 0) return;
  throw forbidden(resourceOfKind(kind)!, name, different.length === 1 ? different[0]! : `[${different.join(', ')}]`);
}

function check(item: LimitRangeItem, requests: Amounts, limits: Amounts, errors: string[]): void {
  const { type } = item;
  for (const [name, bound] of Object.entries(amountsOf(item.min))) atLeast(type, name, bound, requests, limits, errors);
  for (const [name, bound] of Object.entries(amountsOf(item.max))) atMost(type, name, bound, requests, limits, errors);
  for (const [name, bound] of Object.entries(amountsOf(item.maxLimitRequestRatio))) {
    const message = ratioError(bound, requests[name], limits[name]);
    if (message !== undefined)
      errors.push(`${name} max limit to request ratio per ${type} is ${bound}, but ${message}`);
  }
}

function atLeast(
  type: string,
  name: string,
  bound: Quantity,
  requests: Amounts,
  limits: Amounts,
  errors: string[],
): void {
  const request = requests[name];
  const limit = limits[name];
  const rule = `minimum ${name} usage per ${type} is ${bound}`;
  if (request === undefined) errors.push(`${rule}.  No request is specified`);
  else if (bound.exceeds(request)) errors.push(`${rule}, but request is ${request}`);
  else if (limit !== undefined && bound.exceeds(limit)) errors.push(`${rule}, but limit is ${limit}`);
}

function atMost(
  type: string,
  name: string,
  bound: Quantity,
  requests: Amounts,
  limits: Amounts,
  errors: string[],
): void {
  const request = requests[name];
  const limit = limits[name];
  const rule = `maximum ${name} usage per ${type} is ${bound}`;
  if (limit === undefined) errors.push(`${rule}.  No limit is specified`);
  else if (limit.exceeds(bound)) errors.push(`${rule}, but limit is ${limit}`);
  else if (request?.exceeds(bound)) errors.push(`${rule}, but request is ${request}`);
}

function ratioError(bound: Quantity, request = Quantity.ZERO, limit = Quantity.ZERO): string | undefined {
  if (request.nanos === 0n) return 'no request is specified or request is 0';
  if (limit.nanos === 0n) return 'no limit is specified or limit is 0';
  const ratio = limit.millis / request.millis;
  return ratio * 1000 > bound.millis ? `provided ratio is ${ratio.toFixed(6)}` : undefined;
}
