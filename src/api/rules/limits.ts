/**
 * Validation of ResourceQuota and LimitRange (pkg/apis/core/validation, ValidateResourceQuotaSpec, ValidateLimitRange).
 */
import type { FieldError } from '../errors.ts';
import { type Amounts, amountsOf } from '../quantity.ts';
import type { LimitRange, LimitRangeItem, ResourceQuota } from '../types/objects.ts';
import { invalid } from './field-errors.ts';

/** Resources that a quota with scope BestEffort can limit: pods without requests can only be counted. */
const COUNTED = ['pods', 'count/pods'];
const STORAGE_MISSING = 'either minimum or maximum storage value is required, but neither was provided';

export function checkQuota({ spec }: ResourceQuota): FieldError[] {
  const errors: FieldError[] = [];
  for (const [name, amount] of Object.entries(amountsOf(spec?.hard))) {
    const path = `spec.hard[${name}]`;
    if (amount.nanos < 0n) errors.push(invalid(path, String(amount), 'must be greater than or equal to 0'));
    if (!name.includes('/') && !isCompute(name) && amount.nanos % 1_000_000_000n !== 0n) {
      errors.push(invalid(path, String(amount), 'must be an integer'));
    }
  }
  const scopes = spec?.scopes ?? [];
  const beyond = Object.keys(spec?.hard ?? {}).some((name) => !COUNTED.includes(name));
  if (scopes.includes('BestEffort') && beyond) {
    errors.push(invalid('spec.scopes', scopes, 'unsupported scope applied to resource'));
  }
  for (const [one, other] of [
    ['BestEffort', 'NotBestEffort'],
    ['Terminating', 'NotTerminating'],
  ] as const) {
    if (scopes.includes(one) && scopes.includes(other)) {
      errors.push(invalid('spec.scopes', scopes, 'conflicting scopes'));
    }
  }
  return errors;
}

const isCompute = (name: string) =>
  /^((requests|limits)\.)?(cpu|memory|ephemeral-storage|storage|hugepages-.*)$/.test(name);

export function checkLimitRange({ spec }: LimitRange): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  (spec?.limits ?? []).forEach((item, i) => {
    const path = `spec.limits[${i}]`;
    if (seen.has(item.type)) errors.push({ path: `${path}.type`, message: `Duplicate value: "${item.type}"` });
    seen.add(item.type);
    checkItem(item, path, errors);
  });
  return errors;
}

function checkItem(item: LimitRangeItem, path: string, errors: FieldError[]): void {
  const { type } = item;
  if (type === 'Pod') {
    for (const field of ['default', 'defaultRequest'] as const) {
      const given = item[field];
      if (given === undefined || Object.keys(given).length === 0) continue;
      const message = "Forbidden: may not be specified when `type` is 'Pod'";
      errors.push({ path: `${path}.${field}`, message, reason: 'FieldValueForbidden' });
    }
  }
  if (type === 'PersistentVolumeClaim' && item.min?.storage === undefined && item.max?.storage === undefined) {
    errors.push({
      path: `${path}.limits`,
      message: `Required value: ${STORAGE_MISSING}`,
      reason: 'FieldValueRequired',
    });
  }
  const parts = {
    min: amountsOf(item.min),
    max: amountsOf(item.max),
    default: amountsOf(item.default),
    defaultRequest: amountsOf(item.defaultRequest),
  };
  ordered(parts.min, parts.max, `${path}.min`, 'min value', 'max value', errors);
  ordered(parts.min, parts.defaultRequest, `${path}.defaultRequest`, 'min value', 'default request value', errors);
  ordered(parts.defaultRequest, parts.max, `${path}.defaultRequest`, 'default request value', 'max value', errors);
  ordered(
    parts.defaultRequest,
    parts.default,
    `${path}.defaultRequest`,
    'default request value',
    'default limit value',
    errors,
  );
  ordered(parts.min, parts.default, `${path}.default`, 'min value', 'default value', errors);
  ordered(parts.default, parts.max, `${path}.default`, 'default value', 'max value', errors);
  for (const [name, ratio] of Object.entries(amountsOf(item.maxLimitRequestRatio))) {
    const at = `${path}.maxLimitRequestRatio[${name}]`;
    if (ratio.millis < 1000) errors.push(invalid(at, String(ratio), `ratio ${ratio} is less than 1`));
  }
}

function ordered(
  less: Amounts,
  more: Amounts,
  path: string,
  lessName: string,
  moreName: string,
  errors: FieldError[],
): void {
  for (const [name, amount] of Object.entries(less)) {
    const bound = more[name];
    if (bound === undefined || !amount.exceeds(bound)) continue;
    const at = `${path}[${name}]`;
    const shown = path.endsWith('.min') || lessName !== 'min value' ? amount : bound;
    errors.push(invalid(at, String(shown), `${lessName} ${amount} is greater than ${moreName} ${bound}`));
  }
}
