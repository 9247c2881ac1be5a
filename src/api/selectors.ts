/** Label and field selectors, as in Kubernetes' query parameters and objects. */
import type { KubeObject, LabelSelector } from './types/objects.ts';

export type Labels = Readonly<Record<string, string>>;
export type Predicate = (object: KubeObject) => boolean;

/**
 * Does every pair of `selector` occur in `labels`? An empty selector matches everything; callers handle it if it should
 * not.
 */
export function matchesLabels(selector: Labels, labels: Labels | undefined): boolean {
  for (const key in selector) if (labels?.[key] !== selector[key]) return false;
  return true;
}

/** `matchLabels` and `matchExpressions` of a workload. */
export function matchesSelector(selector: LabelSelector, labels: Labels): boolean {
  if (!matchesLabels(selector.matchLabels ?? {}, labels)) return false;
  return (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    const value = labels[key];
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value);
      case 'NotIn':
        return value === undefined || !values.includes(value);
      case 'Exists':
        return value !== undefined;
      default:
        return value === undefined;
    }
  });
}

/** Thrown for a selector that cannot be read. */
export class SelectorError extends Error {
  override readonly name = 'SelectorError';
}

/** `a=b,c!=d,e in (f,g),h,!i` → a test of labels; undefined for the empty selector. */
export function parseLabelSelector(text: string): Predicate | undefined {
  // Commas within parentheses separate values.
  const terms = text.split(/,(?![^(]*\))/).filter((term) => term.trim() !== '');
  if (terms.length === 0) return undefined;
  const tests = terms.map(parseTerm);
  return (object) => tests.every((test) => test(object.metadata.labels ?? {}));
}

function parseTerm(term: string): (labels: Labels) => boolean {
  const set = /^\s*(\S+)\s+(in|notin)\s*\(([^)]*)\)\s*$/.exec(term);
  if (set) {
    const [, key = '', operator, list = ''] = set;
    const values = new Set(list.split(',').map((v) => v.trim()));
    const wanted = operator === 'in';
    return (labels) => (key in labels && values.has(labels[key]!)) === wanted;
  }
  const pair = /^\s*([^\s=!()]+)\s*(==?|!=)\s*([^\s=!()]*)\s*$/.exec(term);
  if (pair) {
    const [, key = '', operator, value] = pair;
    return operator === '!=' ? (labels) => labels[key] !== value : (labels) => labels[key] === value;
  }
  const exists = /^\s*(!?)\s*([^\s=!()]+)\s*$/.exec(term);
  if (!exists) throw new SelectorError(`unable to parse requirement: ${term.trim()}`);
  const [, negated, key = ''] = exists;
  return negated ? (labels) => !(key in labels) : (labels) => key in labels;
}

/** The fields that a field selector may name, by kind, besides metadata.name and metadata.namespace. */
const SELECTABLE: Record<string, readonly string[]> = {
  Pod: [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.nominatedNodeName',
  ],
  Service: ['spec.clusterIP', 'spec.type'],
  Node: ['spec.unschedulable'],
  CertificateSigningRequest: ['spec.signerName'],
  Namespace: ['status.phase'],
  Secret: ['type'],
  Event: [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'involvedObject.apiVersion',
    'involvedObject.resourceVersion',
    'involvedObject.fieldPath',
    'reason',
    'type',
    'source',
    'reportingComponent',
  ],
};

/** Booleans: an object that does not have one is selected by `false` (pkg/registry/core/node/strategy.go, pod/strategy.go). */
const BOOLEANS: readonly string[] = ['spec.unschedulable', 'spec.hostNetwork'];

/** Fields of events.k8s.io → their names in the stored version (pkg/apis/events/v1/conversion.go). */
const FIELD_ALIASES: Record<string, string> = {
  ...Object.fromEntries(
    ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'].map((part) => [
      `regarding.${part}`,
      `involvedObject.${part}`,
    ]),
  ),
  reportingController: 'reportingComponent',
};

/** Kinds with fields of their own have another text than all others (apis/core/v1/conversion.go). */
const unknownField = (selectable: readonly string[] | undefined, field: string): string =>
  selectable === undefined
    ? `"${field}" is not a known field selector: only "metadata.name", "metadata.namespace"`
    : `field label not supported: ${field}`;

/**
 * `metadata.name=x,status.phase!=Failed` → a test; undefined for the empty selector.
 * @param selectable the fields it may name besides name and namespace; for a custom kind, those of its definition
 */
export function parseFieldSelector(
  kind: string,
  text: string,
  selectable: readonly string[] | undefined = SELECTABLE[kind],
): Predicate | undefined {
  const tests: Predicate[] = [];
  for (const term of text.split(',')) {
    if (term.trim() === '') continue;
    const pair = /^\s*([^\s=!]+)\s*(==?|!=)\s*(\S*)\s*$/.exec(term);
    if (!pair) throw new SelectorError(`invalid selector: '${term}'; can't understand '${term}'`);
    const [, field = '', operator, value = ''] = pair;
    const known =
      field === 'metadata.name' ||
      field === 'metadata.namespace' ||
      selectable?.includes(FIELD_ALIASES[field] ?? field);
    if (!known) throw new SelectorError(unknownField(selectable, field));
    const path = (FIELD_ALIASES[field] ?? field).split('.');
    const wanted = operator !== '!=';
    const absent = BOOLEANS.includes(field) ? 'false' : '';
    tests.push((object) => (fieldText(object, path, absent) === value) === wanted);
  }
  if (tests.length === 0) return undefined;
  return (object) => tests.every((test) => test(object));
}

/** @param absent the text of a field that the object does not have */
function fieldText(object: unknown, path: readonly string[], absent: string): string {
  let value = object;
  for (const part of path) value = (value as Record<string, unknown> | undefined)?.[part];
  return value === undefined || value === null ? absent : String(value);
}
