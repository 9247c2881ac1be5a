/** Validation of workloads and disruption budgets (pkg/apis/{apps,batch,core,policy}/validation). */
import type { FieldError } from '../errors.ts';
import { matchesSelector } from '../selectors.ts';
import type {
  CronJob,
  DaemonSet,
  Deployment,
  Job,
  JobSpec,
  KubeObject,
  LabelSelector,
  PodDisruptionBudget,
  PodTemplate,
  ReplicaSet,
  ReplicationController,
  StatefulSet,
} from '../types/objects.ts';
import { forbidden, invalid, notSupported, required } from './field-errors.ts';
import { checkJob } from './job.ts';
import { checkPodSpec } from './pod.ts';

/** The errors of an object; empty for all other kinds. */
export function checkWorkload(object: KubeObject): FieldError[] {
  switch (object.kind) {
    case 'Deployment':
    case 'ReplicaSet':
    case 'StatefulSet':
    case 'DaemonSet': {
      const { spec } = object as Deployment | ReplicaSet | StatefulSet | DaemonSet;
      const { selector, template } = spec;
      const errors = checkSelector(object.kind, selector, template);
      return [...errors, ...checkTemplate(template, 'spec', ['Always'], claimNames(object)), ...checkStrategy(object)];
    }
    case 'ReplicationController': {
      const { selector, template } = (object as ReplicationController).spec;
      const matchLabels = selector ?? template?.metadata?.labels;
      if (template === undefined) return [required('spec.template')];
      const errors = checkSelector(object.kind, { ...(matchLabels && { matchLabels }) }, template);
      return [...errors, ...checkTemplate(template, 'spec', ['Always'])];
    }
    case 'Job':
      return checkJobTemplate((object as Job).spec, 'spec');
    case 'CronJob':
      return checkCronJob(object as CronJob);
    case 'PodDisruptionBudget': {
      const { minAvailable, maxUnavailable } = (object as PodDisruptionBudget).spec ?? {};
      if (minAvailable === undefined || maxUnavailable === undefined) return [];
      const message = 'minAvailable and maxUnavailable cannot be both set';
      return [{ path: 'spec', message }];
    }
    default:
      return [];
  }
}

function checkSelector(kind: string, selector: LabelSelector | undefined, template: PodTemplate): FieldError[] {
  if (selector === undefined) return [required('spec.selector')];
  if (!selector.matchLabels && !selector.matchExpressions?.length) {
    return [{ path: 'spec.selector', message: `empty selector is invalid for ${kind.toLowerCase()}` }];
  }
  if (matchesSelector(selector, template?.metadata?.labels ?? {})) return [];
  return [{ path: 'spec.template.metadata.labels', message: '`selector` does not match template `labels`' }];
}

/** The parameters of a rolling update belong to no other strategy. */
function checkStrategy(object: KubeObject): FieldError[] {
  if (object.kind === 'Deployment') {
    const { type, rollingUpdate } = (object as Deployment).spec.strategy ?? {};
    if (type !== 'Recreate' || rollingUpdate === undefined) return [];
    return [forbidden('spec.strategy.rollingUpdate', "may not be specified when strategy `type` is 'Recreate'")];
  }
  if (object.kind !== 'StatefulSet') return [];
  const { type, rollingUpdate } = (object as StatefulSet).spec.updateStrategy ?? {};
  if (type !== 'OnDelete' || rollingUpdate === undefined) return [];
  const path = 'spec.updateStrategy.rollingUpdate';
  return [invalid(path, rollingUpdate, "only allowed for updateStrategy 'RollingUpdate'")];
}

/** What the pods of a StatefulSet can mount although its template has no such volume. */
function claimNames(object: KubeObject): string[] {
  if (object.kind !== 'StatefulSet') return [];
  return ((object as StatefulSet).spec.volumeClaimTemplates ?? []).map(({ metadata }) => metadata.name ?? '');
}

function checkTemplate(
  template: PodTemplate | undefined,
  at: string,
  policies: readonly string[],
  claims: readonly string[] = [],
): FieldError[] {
  if (template?.spec === undefined) return [required(`${at}.template.spec`)];
  const errors = checkPodSpec(template.spec, `${at}.template.spec`, claims);
  const policy = template.spec.restartPolicy;
  if (policy !== undefined && !policies.includes(policy)) {
    errors.push(notSupported(`${at}.template.spec.restartPolicy`, policy, policies));
  }
  return errors;
}

function checkJobTemplate(spec: JobSpec, at: string): FieldError[] {
  return [...checkTemplate(spec.template, at, ['OnFailure', 'Never']), ...checkJob(spec, at)];
}

/** Five fields of a crontab, or one of its names (robfig/cron, which Kubernetes uses). */
const FIELDS: readonly { least: number; most: number; names: readonly string[] }[] = [
  { least: 0, most: 59, names: [] },
  { least: 0, most: 23, names: [] },
  { least: 1, most: 31, names: [] },
  { least: 1, most: 12, names: 'jan feb mar apr may jun jul aug sep oct nov dec'.split(' ') },
  { least: 0, most: 6, names: 'sun mon tue wed thu fri sat'.split(' ') },
];
const PART = /^(?:[*?]|(\w+)(?:-(\w+))?)(?:\/([0-9]+))?$/;

/** Is it a field of a crontab, with numbers or names within its range? */
function isCronField(text: string, { least, most, names }: (typeof FIELDS)[number]): boolean {
  const numberOf = (word: string) => {
    const named = names.indexOf(word.toLowerCase());
    return named >= 0 ? named + least : /^[0-9]+$/.test(word) ? Number(word) : Number.NaN;
  };
  return text.split(',').every((part) => {
    const match = PART.exec(part);
    if (match === null) return false;
    const [, first, last = first, step = '1'] = match;
    if (first === undefined) return Number(step) > 0;
    const [from, to] = [numberOf(first), numberOf(last!)];
    return from >= least && to <= most && from <= to && Number(step) > 0;
  });
}
const NAMED = /^@(yearly|annually|monthly|weekly|daily|midnight|hourly)$/;

function checkCronJob({ spec }: CronJob): FieldError[] {
  if (spec.jobTemplate === undefined) return [required('spec.schedule'), required('spec.jobTemplate')];
  const errors = checkJobTemplate(spec.jobTemplate.spec ?? {}, 'spec.jobTemplate.spec');
  const fields = spec.schedule.trim().split(/\s+/);
  if (
    !NAMED.test(spec.schedule) &&
    (fields.length !== 5 || !fields.every((field, i) => isCronField(field, FIELDS[i]!)))
  ) {
    const message = `Invalid value: "${spec.schedule}": expected five fields of a crontab such as "*/5 * * * *", or @hourly, @daily, …`;
    errors.push({ path: 'spec.schedule', message });
  }
  if (spec.timeZone !== undefined && !isTimeZone(spec.timeZone)) {
    errors.push({
      path: 'spec.timeZone',
      message: `Invalid value: "${spec.timeZone}": unknown time zone ${spec.timeZone}`,
    });
  }
  return errors;
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return name !== '' && name !== 'Local';
  } catch {
    return false;
  }
}
