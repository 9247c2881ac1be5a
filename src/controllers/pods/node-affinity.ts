/** Required node affinity: matches a node's labels and name (component-helpers, nodeaffinity). */
import type { NodeObject, PodSpec } from '../../api/types/objects.ts';

interface Requirement {
  key: string;
  operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist' | 'Gt' | 'Lt';
  values?: string[];
}

export interface NodeSelectorTerm {
  matchExpressions?: Requirement[];
  matchFields?: Requirement[];
}

interface Affinity {
  nodeAffinity?: { requiredDuringSchedulingIgnoredDuringExecution?: { nodeSelectorTerms?: NodeSelectorTerm[] } };
}

/** At least one term must match, with all its requirements; an empty term never matches. */
export function nodeAffinityFits(spec: PodSpec, node: NodeObject): boolean {
  const { affinity } = spec as { affinity?: Affinity };
  const terms = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  return terms === undefined || termsFit(terms, node);
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

function holds({ operator, values = [] }: Requirement, value: string | undefined): boolean {
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
