/**
 * How much an object counts against the quotas of its namespace (k8s.io/kubernetes/pkg/quota/v1/evaluator/core), by the
 * resource names of quotas: `pods`, `requests.cpu`, `services.nodeports`, `count/deployments.apps`.
 */
import { templateContainersOf } from '../../api/containers.ts';
import { isEnded } from '../../api/pod-phase.ts';
import { podResources, qosClass, resourcesOf } from '../../api/pod-resources.ts';
import { type Amounts, amountsOf, Quantity } from '../../api/quantity.ts';
import { qualifiedName, type Resource } from '../../api/resources.ts';
import type {
  KubeObject,
  PersistentVolumeClaim,
  Pod,
  ResourceQuota,
  ScopeSelector,
  Service,
} from '../../api/types/objects.ts';

/** Kinds with a resource name of their own in quotas, besides `count/`. */
const OLD_NAMES: readonly string[] = [
  'pods',
  'services',
  'replicationcontrollers',
  'resourcequotas',
  'secrets',
  'configmaps',
  'persistentvolumeclaims',
];

/** Resources that every container must specify if a quota limits them (validationSet in pods.go). */
const DEMANDED = new Set('cpu memory requests.cpu requests.memory limits.cpu limits.memory'.split(' '));

/** The amount of each resource that this object uses. */
export function usageOf(resource: Resource, object: KubeObject): Amounts {
  const usage: Amounts = { [`count/${qualifiedName(resource)}`]: Quantity.ONE };
  if (resource.group !== '') return usage;
  if (resource.key === 'Pod') {
    const pod = object as Pod;
    return isEnded(pod) ? usage : { ...usage, pods: Quantity.ONE, ...computeUsage(pod.spec) };
  }
  if (OLD_NAMES.includes(resource.plural)) usage[resource.plural] = Quantity.ONE;
  if (resource.key === 'Service') return { ...usage, ...serviceUsage(object as Service) };
  if (resource.key === 'PersistentVolumeClaim') return { ...usage, ...claimUsage(object as PersistentVolumeClaim) };
  return usage;
}

function computeUsage(spec: Pod['spec']): Amounts {
  return named(podResources(spec, 'requests'), podResources(spec, 'limits'));
}

function named(requests: Amounts, limits: Amounts): Amounts {
  const usage: Amounts = {};
  for (const [name, amount] of Object.entries(requests)) {
    usage[`requests.${name}`] = amount;
    if (!name.includes('/')) usage[name] = amount;
  }
  for (const [name, amount] of Object.entries(limits)) usage[`limits.${name}`] = amount;
  return usage;
}

function serviceUsage({ spec }: Service): Amounts {
  const ports = spec.ports ?? [];
  const opened =
    spec.type === 'NodePort' || (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false)
      ? ports.length
      : spec.type === 'LoadBalancer'
        ? ports.filter(({ nodePort }) => nodePort).length
        : 0;
  return {
    'services.nodeports': Quantity.of(opened),
    'services.loadbalancers': Quantity.of(spec.type === 'LoadBalancer' ? 1 : 0),
  };
}

function claimUsage({ spec }: PersistentVolumeClaim): Amounts {
  const { storage = Quantity.ZERO } = amountsOf(spec.resources?.requests);
  const ofClass = `${spec.storageClassName}.storageclass.storage.k8s.io`;
  return {
    'requests.storage': storage,
    ...(spec.storageClassName && {
      [`${ofClass}/requests.storage`]: storage,
      [`${ofClass}/persistentvolumeclaims`]: Quantity.ONE,
    }),
  };
}

/** Does the quota apply to this object? A quota with scopes applies to pods only. */
export function inScope({ spec }: ResourceQuota, resource: Resource, object: KubeObject): boolean {
  const selectors: ScopeSelector[] = [
    ...(spec?.scopes ?? []).map((scopeName) => ({ scopeName, operator: 'Exists' as const })),
    ...(spec?.scopeSelector?.matchExpressions ?? []),
  ];
  if (selectors.length === 0) return true;
  return resource.key === 'Pod' && selectors.every((selector) => inOneScope(object as Pod, selector));
}

function inOneScope({ spec }: Pod, { scopeName, operator, values = [] }: ScopeSelector): boolean {
  switch (scopeName) {
    case 'Terminating':
      return spec.activeDeadlineSeconds !== undefined;
    case 'NotTerminating':
      return spec.activeDeadlineSeconds === undefined;
    case 'BestEffort':
      return qosClass(spec) === 'BestEffort';
    case 'NotBestEffort':
      return qosClass(spec) !== 'BestEffort';
    case 'PriorityClass': {
      const { priorityClassName } = spec as { priorityClassName?: string };
      if (operator === 'Exists') return Boolean(priorityClassName);
      if (operator === 'DoesNotExist') return !priorityClassName;
      return values.includes(priorityClassName ?? '') === (operator === 'In');
    }
    case 'CrossNamespacePodAffinity':
      return crossesNamespaces(spec);
    default:
      return false;
  }
}

interface AffinityTerm {
  namespaces?: string[];
  namespaceSelector?: object;
}

interface PodTerms {
  requiredDuringSchedulingIgnoredDuringExecution?: AffinityTerm[];
  preferredDuringSchedulingIgnoredDuringExecution?: { podAffinityTerm: AffinityTerm }[];
}

function crossesNamespaces(spec: Pod['spec']): boolean {
  const { affinity } = spec as { affinity?: { podAffinity?: PodTerms; podAntiAffinity?: PodTerms } };
  return [affinity?.podAffinity, affinity?.podAntiAffinity].some((terms) =>
    [
      ...(terms?.requiredDuringSchedulingIgnoredDuringExecution ?? []),
      ...(terms?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map((term) => term.podAffinityTerm),
    ].some(({ namespaces, namespaceSelector }) => namespaces?.length || namespaceSelector !== undefined),
  );
}

/**
 * `limits.cpu for: a,b; …`: resources that containers must specify because a quota limits them, and do not; undefined:
 * none.
 */
export function missingDemands(hard: readonly string[], { spec }: Pod): string | undefined {
  const demanded = hard.filter((name) => DEMANDED.has(name)).sort();
  const containers = templateContainersOf(spec);
  const lines = demanded.flatMap((name) => {
    const without = containers.filter(
      (container) => named(resourcesOf(container, 'requests'), resourcesOf(container, 'limits'))[name] === undefined,
    );
    const names = without.map((container) => container.name).sort();
    return names.length === 0 ? [] : [`${name} for: ${names.join(',')}`];
  });
  return lines.length === 0 ? undefined : lines.join('; ');
}
