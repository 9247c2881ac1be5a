/** Validation of a Job's own fields (pkg/apis/batch/validation); its template is checked with those of other workloads. */
import { isDeepStrictEqual } from 'node:util';
import type { FieldError } from '../errors.ts';
import type { Job, JobSpec, PodTemplate, SuccessPolicyRule } from '../types/objects.ts';
import { IMMUTABLE, invalid, notSupported, required, tooMany } from './field-errors.ts';

const MOST_INDEXES = 100_000;
const MOST_RULES = 20;
const NUMBERS = [
  'parallelism',
  'completions',
  'activeDeadlineSeconds',
  'backoffLimit',
  'backoffLimitPerIndex',
  'maxFailedIndexes',
  'ttlSecondsAfterFinished',
] as const;
/** May not change after a Job was created. */
const FIXED = [
  'selector',
  'completionMode',
  'podFailurePolicy',
  'backoffLimitPerIndex',
  'successPolicy',
  'managedBy',
] as const;

export function checkJob(spec: JobSpec, at: string): FieldError[] {
  const negative = NUMBERS.filter((name) => (spec[name] ?? 0) < 0).map((name) =>
    invalid(`${at}.${name}`, spec[name], 'must be greater than or equal to 0'),
  );
  return [
    ...negative,
    ...checkIndexing(spec, at),
    ...checkFailurePolicy(spec, at),
    ...checkReplacementPolicy(spec, at),
    ...checkSuccessPolicy(spec, at),
  ];
}

function checkIndexing(spec: JobSpec, at: string): FieldError[] {
  const { completionMode, completions, parallelism = 1, backoffLimitPerIndex, maxFailedIndexes } = spec;
  const errors: FieldError[] = [];
  if (completionMode !== 'Indexed') {
    for (const name of ['backoffLimitPerIndex', 'maxFailedIndexes'] as const) {
      if (spec[name] !== undefined)
        errors.push(invalid(`${at}.${name}`, spec[name], 'requires indexed completion mode'));
    }
  } else {
    if (completions === undefined) errors.push(required(`${at}.completions`, 'when completion mode is Indexed'));
    if (parallelism > MOST_INDEXES) {
      const why = `must be less than or equal to ${MOST_INDEXES} when completion mode is Indexed`;
      errors.push(invalid(`${at}.parallelism`, parallelism, why));
    }
    if (maxFailedIndexes !== undefined && completions !== undefined && maxFailedIndexes > completions) {
      errors.push(invalid(`${at}.maxFailedIndexes`, maxFailedIndexes, 'must be less than or equal to completions'));
    }
  }
  if (maxFailedIndexes !== undefined && backoffLimitPerIndex === undefined) {
    errors.push(required(`${at}.backoffLimitPerIndex`, 'when maxFailedIndexes is specified'));
  }
  return errors;
}

function checkFailurePolicy({ podFailurePolicy, backoffLimitPerIndex, template }: JobSpec, at: string): FieldError[] {
  if (podFailurePolicy === undefined) return [];
  const errors: FieldError[] = [];
  const policy = template?.spec?.restartPolicy;
  if (policy !== undefined && policy !== 'Never') {
    const why = 'only "Never" is supported when podFailurePolicy is specified';
    errors.push(invalid(`${at}.template.spec.restartPolicy`, policy, why));
  }
  for (const [i, { action }] of (podFailurePolicy.rules ?? []).entries()) {
    if (action !== 'FailIndex' || backoffLimitPerIndex !== undefined) continue;
    const path = `${at}.podFailurePolicy.rules[${i}].action`;
    errors.push(invalid(path, action, 'requires the backoffLimitPerIndex to be set'));
  }
  return errors;
}

function checkReplacementPolicy({ podReplacementPolicy: policy, podFailurePolicy }: JobSpec, at: string): FieldError[] {
  const supported = podFailurePolicy === undefined ? ['Failed', 'TerminatingOrFailed'] : ['Failed'];
  if (policy === undefined || supported.includes(policy)) return [];
  return [notSupported(`${at}.podReplacementPolicy`, policy, supported)];
}

function checkSuccessPolicy({ successPolicy, completionMode, completions = 0 }: JobSpec, at: string): FieldError[] {
  if (successPolicy === undefined) return [];
  const path = `${at}.successPolicy`;
  if (completionMode !== 'Indexed') return [invalid(path, successPolicy, 'requires indexed completion mode')];
  const { rules = [] } = successPolicy;
  if (rules.length === 0) {
    return [required(`${path}.rules`, 'at least one rules must be specified when the successPolicy is specified')];
  }
  if (rules.length > MOST_RULES) return [tooMany(`${path}.rules`, rules.length, MOST_RULES)];
  return rules.flatMap((rule, i) => checkSuccessRule(rule, completions, `${path}.rules[${i}]`));
}

function checkSuccessRule(
  { succeededIndexes, succeededCount }: SuccessPolicyRule,
  size: number,
  at: string,
): FieldError[] {
  if (succeededIndexes === undefined && succeededCount === undefined) {
    return [required(at, 'at least one of succeededCount or succeededIndexes must be specified')];
  }
  const total = succeededIndexes === undefined ? size : countIndexes(succeededIndexes, size);
  if (typeof total === 'string') {
    return [invalid(`${at}.succeededIndexes`, succeededIndexes, `error parsing succeededIndexes: ${total}`)];
  }
  if (succeededCount === undefined) return [];
  if (succeededCount < 0)
    return [invalid(`${at}.succeededCount`, succeededCount, 'must be greater than or equal to 0')];
  if (succeededCount <= total) return [];
  const of =
    succeededIndexes === undefined ? 'specified completions' : 'indexes in the specified succeededIndexes field';
  return [
    invalid(`${at}.succeededCount`, succeededCount, `must be less than or equal to ${total} (the number of ${of})`),
  ];
}

/** @returns how many indexes `1,3-5` names, or what is wrong with it: numbers below `size`, ascending */
function countIndexes(text: string, size: number): number | string {
  if (text === '') return 0;
  let total = 0;
  let before = -1;
  for (const part of text.split(',')) {
    const match = /^([0-9]+)(?:-([0-9]+))?$/.exec(part);
    if (match === null) return `cannot convert string to integer for index: ${JSON.stringify(part)}`;
    const [first, last] = [Number(match[1]), Number(match[2] ?? match[1])];
    if (last >= size) return `too large index: ${JSON.stringify(String(last))}`;
    if (first <= before) return `non-increasing order, previous: ${before}, current: ${first}`;
    if (match[2] !== undefined && last <= first) {
      return `non-increasing order, previous: ${first}, current: ${last}`;
    }
    total += last - first + 1;
    before = last;
  }
  return total;
}

export function checkJobUpdate({ spec }: Job, old: Job): FieldError[] {
  const errors = FIXED.filter((name) => !isDeepStrictEqual(spec[name], old.spec[name])).map((name) =>
    invalid(`spec.${name}`, spec[name], IMMUTABLE),
  );
  if (spec.completions !== old.spec.completions && !isElastic(spec)) {
    errors.push(invalid('spec.completions', spec.completions, IMMUTABLE));
  }
  const idle = old.spec.suspend === true && old.status?.startTime === undefined;
  const fixed = idle ? withoutPlacement : (template: PodTemplate) => template;
  if (!isDeepStrictEqual(fixed(spec.template), fixed(old.spec.template))) {
    errors.push(invalid('spec.template', spec.template, IMMUTABLE));
  }
  return errors;
}

/** An Indexed Job is scaled by changing both numbers to the same value. */
const isElastic = ({ completionMode, completions, parallelism }: JobSpec): boolean =>
  completionMode === 'Indexed' && completions !== undefined && completions === parallelism;

/** A queue may choose where the pods of a Job run before it resumes the Job for the first time. */
function withoutPlacement({ metadata: _, spec }: PodTemplate): object {
  const { nodeSelector: _n, affinity: _a, tolerations: _t, schedulingGates: _g, ...fixed } = spec;
  return fixed;
}
