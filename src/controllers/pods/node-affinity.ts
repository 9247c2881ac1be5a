/** Node affinity: matches a node's labels and name (component-helpers, nodeaffinity). */
import type { NodeObject, NodeSelectorRequirement, NodeSelectorTerm, PodSpec } from '../../api/types/objects.ts';

/** At least one term must match, with all its requirements; an empty term never matches. */
export function nodeAffinityFits(spec: PodSpec, node: NodeObject): boolean {
  const terms = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  return terms === undefined || termsFit(terms, node);
}

/** The sum of the weights of the preferred terms that match. */
export function nodePreference({ affinity }: PodSpec, node: NodeObject): number {
  const terms = affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  return terms.reduce((sum, { weight, preference }) => sum + (termsFit([preference], node) ? weight : 0), 0);
}

/** Of volumes too: where they can be reached. */
export function termsFit(terms: readonly NodeSelectorTerm[], node: NodeObject): boolean {
  const { labels = {}, name } = node.metadata;
  return terms.some(({ matchExpressions = [], matchFields = [] }) => {
    if (matchExpressions.length + matchFields.length === 0) return false;
    return (
      matchExpressions.every((each) => holds(each, labels[each.key])) &&
      matchFields.every((each) => holds(each, each.key === 'metadata.name' ? name : undefined))
    );
  });
}

function holds({ operator, values = [] }: NodeSelectorRequirement, value: string | undefined): boolean {
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return value !== undefined && Number(value) > Number(values[0]);
    case 'Lt':
      return value !== undefined && Number(value) < Number(values[0]);
    default:
      return false;
  }
}
