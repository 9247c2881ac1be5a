/**
 * Where a pod may run in relation to other pods: pod affinity and anti-affinity, and topology spread constraints
 * (kubernetes pkg/scheduler/framework/plugins/interpodaffinity and podtopologyspread). Pure.
 */
import { matchesSelector } from '../../api/selectors.ts';
import type {
  LabelSelector,
  NodeObject,
  Pod,
  PodAffinityTerm,
  TopologySpreadConstraint,
} from '../../api/types/objects.ts';

/** Why a node is not suitable: kube-scheduler's texts after `node(s) `. */
export const NO_AFFINITY = "didn't match pod affinity rules";
export const ANTI_AFFINITY = "didn't match pod anti-affinity rules";
export const OTHERS_ANTI_AFFINITY = "didn't satisfy existing pods anti-affinity rules";
export const SPREAD = "didn't match pod topology spread constraints";
export const SPREAD_NO_LABEL = `${SPREAD} (missing required label)`;

/** May the reason no longer hold when pods are removed (UnschedulableAndUnresolvable in the plugins)? */
export const dependsOnOthers = (why: string): boolean => why !== NO_AFFINITY && why !== SPREAD_NO_LABEL;

/** The cluster as the scheduler sees it for one pod. */
export interface Neighbourhood {
  /** Pods that have a node and have not ended, with that node. */
  readonly placed: readonly { pod: Pod; node: NodeObject }[];
  readonly nodes: readonly NodeObject[];
  /** Labels of a namespace. */
  namespaceLabels(name: string): Readonly<Record<string, string>>;
  /** Does the pod's own node selector or affinity exclude this node? */
  excluded(node: NodeObject): boolean;
}

const domainOf = (node: NodeObject, key: string): string | undefined =>
  key === 'kubernetes.io/hostname' ? (node.metadata.labels?.[key] ?? node.metadata.name) : node.metadata.labels?.[key];

/** A selector that is absent selects nothing, an empty one everything. */
const selects = (selector: LabelSelector | undefined, pod: Pod): boolean =>
  selector !== undefined && matchesSelector(selector, pod.metadata.labels ?? {});

/** Is `other` one of the pods that a term of `owner` is about? */
function termMatches(term: PodAffinityTerm, owner: Pod, other: Pod, { namespaceLabels }: Neighbourhood): boolean {
  const { namespaces = [], namespaceSelector } = term;
  const { namespace = 'default' } = other.metadata;
  const here =
    namespaces.length === 0 && namespaceSelector === undefined
      ? namespace === (owner.metadata.namespace ?? 'default')
      : namespaces.includes(namespace) ||
        (namespaceSelector !== undefined && matchesSelector(namespaceSelector, namespaceLabels(namespace)));
  return here && selects(term.labelSelector, other);
}

const required = (pod: Pod, kind: 'podAffinity' | 'podAntiAffinity'): readonly PodAffinityTerm[] =>
  pod.spec.affinity?.[kind]?.requiredDuringSchedulingIgnoredDuringExecution ?? [];

/** Does the pod keep other pods away from its node, zone and so on? */
export const keepsAway = (pod: Pod): boolean => required(pod, 'podAntiAffinity').length > 0;

/** @returns why a node is not suitable for the pod; undefined if it is. The pods of each domain are counted once. */
export function relationsOf(pod: Pod, around: Neighbourhood): (node: NodeObject) => string | undefined {
  const affinity = required(pod, 'podAffinity').map((term) => ({
    key: term.topologyKey,
    domains: domainsWith(around, term.topologyKey, (other) => termMatches(term, pod, other, around)),
    own: termMatches(term, pod, pod, around),
  }));
  // The first of a group of pods that want to be together may go anywhere.
  const first = affinity.every(({ domains, own }) => domains.size === 0 && own);
  const antiAffinity = required(pod, 'podAntiAffinity').map((term) => ({
    key: term.topologyKey,
    domains: domainsWith(around, term.topologyKey, (other) => termMatches(term, pod, other, around)),
  }));
  const others = around.placed.flatMap(({ pod: other, node }) =>
    required(other, 'podAntiAffinity')
      .filter((term) => termMatches(term, other, pod, around))
      .map((term) => ({ key: term.topologyKey, domain: domainOf(node, term.topologyKey) })),
  );
  const spread = spreadOf(pod, around);
  return (node) => {
    const missing = affinity.some(({ key, domains }) => {
      const domain = domainOf(node, key);
      return domain === undefined || !(domains.has(domain) || first);
    });
    if (missing) return NO_AFFINITY;
    if (antiAffinity.some(({ key, domains }) => domains.has(domainOf(node, key) ?? ''))) return ANTI_AFFINITY;
    if (others.some(({ key, domain }) => domain !== undefined && domain === domainOf(node, key))) {
      return OTHERS_ANTI_AFFINITY;
    }
    return spread(node);
  };
}

function domainsWith({ placed }: Neighbourhood, key: string, wanted: (pod: Pod) => boolean): Set<string> {
  const domains = new Set<string>();
  for (const { pod, node } of placed) {
    const domain = domainOf(node, key);
    if (domain !== undefined && wanted(pod)) domains.add(domain);
  }
  return domains;
}

/** Matching pods in each domain that has a node for this pod. */
function domainCounts(pod: Pod, constraint: TopologySpreadConstraint, around: Neighbourhood): Map<string, number> {
  const { topologyKey, nodeAffinityPolicy = 'Honor' } = constraint;
  const counts = new Map<string, number>();
  const eligible = (node: NodeObject) => nodeAffinityPolicy === 'Ignore' || !around.excluded(node);
  for (const node of around.nodes) {
    const domain = domainOf(node, topologyKey);
    if (domain !== undefined && eligible(node)) counts.set(domain, 0);
  }
  const namespace = pod.metadata.namespace ?? 'default';
  for (const { pod: other, node } of around.placed) {
    const domain = domainOf(node, topologyKey);
    if (domain === undefined || !eligible(node) || other.metadata.deletionTimestamp !== undefined) continue;
    if ((other.metadata.namespace ?? 'default') !== namespace || !selects(selectorOf(constraint, pod), other)) continue;
    counts.set(domain, (counts.get(domain) ?? 0) + 1);
  }
  return counts;
}

/** With the pod's own values of matchLabelKeys: a rollout's pods are counted apart from those of the last one. */
function selectorOf(
  { labelSelector, matchLabelKeys = [] }: TopologySpreadConstraint,
  pod: Pod,
): LabelSelector | undefined {
  if (labelSelector === undefined) return undefined;
  const own = matchLabelKeys.flatMap((key) => {
    const value = pod.metadata.labels?.[key];
    return value === undefined ? [] : [[key, value] as const];
  });
  return { ...labelSelector, matchLabels: { ...labelSelector.matchLabels, ...Object.fromEntries(own) } };
}

function spreadOf(pod: Pod, around: Neighbourhood): (node: NodeObject) => string | undefined {
  const constraints = (pod.spec.topologySpreadConstraints ?? [])
    .filter(({ whenUnsatisfiable }) => whenUnsatisfiable === 'DoNotSchedule')
    .map((constraint) => {
      const counts = domainCounts(pod, constraint, around);
      const fewest = counts.size < (constraint.minDomains ?? 1) ? 0 : Math.min(...counts.values());
      const own = selects(selectorOf(constraint, pod), pod) ? 1 : 0;
      return { key: constraint.topologyKey, counts, most: fewest + constraint.maxSkew - own };
    });
  return (node) => {
    for (const { key, counts, most } of constraints) {
      const domain = domainOf(node, key);
      if (domain === undefined) return SPREAD_NO_LABEL;
      if ((counts.get(domain) ?? 0) > most) return SPREAD;
    }
    return undefined;
  };
}

/**
 * How much a pod prefers a node: the weights of its preferred terms that hold there, and, for constraints that may be
 * violated, how few matching pods the node's domain has. Between nodes only the order matters.
 */
export function preferenceOf(pod: Pod, around: Neighbourhood): (node: NodeObject) => number {
  const { podAffinity, podAntiAffinity } = pod.spec.affinity ?? {};
  const terms = [
    ...(podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map((each) => ({ ...each, sign: 1 })),
    ...(podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map((each) => ({ ...each, sign: -1 })),
  ].map(({ weight, podAffinityTerm: term, sign }) => ({
    key: term.topologyKey,
    weight: weight * sign,
    domains: domainsWith(around, term.topologyKey, (other) => termMatches(term, pod, other, around)),
  }));
  const spread = (pod.spec.topologySpreadConstraints ?? [])
    .filter(({ whenUnsatisfiable }) => whenUnsatisfiable === 'ScheduleAnyway')
    .map((constraint) => ({ key: constraint.topologyKey, counts: domainCounts(pod, constraint, around) }));
  return (node) => {
    let sum = 0;
    for (const { key, weight, domains } of terms) if (domains.has(domainOf(node, key) ?? '')) sum += weight;
    for (const { key, counts } of spread)
      sum -= counts.get(domainOf(node, key) ?? '') ?? Math.max(0, ...counts.values());
    return sum;
  };
}
